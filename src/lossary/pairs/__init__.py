"""From a batch to rows of similarities or distances, and the gradient back to the batch."""

from lossary.pairs.cosine import cosine_pairs as cosine_pairs
from lossary.pairs.euclidean import hardest_pairs as hardest_pairs
from lossary.pairs.protocol import Coupling as Coupling
from lossary.pairs.protocol import coupling as coupling
