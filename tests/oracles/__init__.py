"""One naive definition per loss, in 60-digit arithmetic: the newcomer's second file.

The files mirror `lossary.losses`. Each function has the name of its loss and takes **one example**: numbers are `mpf`,
rows are lists of them, class indices are `int`, soft labels lists. Write the textbook formula, as slowly and plainly as
you like; digits are free here, so nothing needs to be stable. Derivatives are taken from it numerically, at 60 digits,
so a mistake in a hand-derived gradient cannot hide behind the same mistake here.

A loss with a coupling takes the whole batch and, last, the index of the example whose value is wanted.
"""

from mpmath import mp

mp.dps = 60

from oracles.regression import *
from oracles.classification import *
from oracles.margin import *
from oracles.imbalance import *
from oracles.likelihood import *
from oracles.divergence import *
from oracles.metric import *
from oracles.segmentation import *
from oracles.sequence import *
from oracles.structured import *
from oracles.penalty import *
from oracles.preference import *
from oracles.sampling import *
