"""Loss landscapes: a plane through the weights of a trained network, with the loss at each point of it.

Directions are random and normalised filter by filter (Li et al. 2018, "Visualizing the loss landscape of neural nets",
arXiv:1712.09913), so that the slices of networks with weights of different sizes can be compared.

>>> from lossary.landscape import landscapes
>>> found = landscapes("iris", ["softmax_cross_entropy"], model="mlp:4", epochs=5, resolution=5)
>>> found.slices[0].values.shape, bool(found.slices[0].values[2, 2] == found.slices[0].trained)
((5, 5), True)
"""

from lossary.landscape.result import Landscapes as Landscapes
from lossary.landscape.result import Slice as Slice
from lossary.landscape.run import landscapes as landscapes
from lossary.landscape.slices import direction as direction
from lossary.landscape.slices import grid as grid
from lossary.landscape.slices import plane as plane
