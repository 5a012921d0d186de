"""The definitions of all losses, one module for each family, in the order a reader meets them."""

from lossary.losses.regression import *
from lossary.losses.classification import *
from lossary.losses.margin import *
from lossary.losses.imbalance import *
from lossary.losses.likelihood import *
from lossary.losses.divergence import *
from lossary.losses.metric import *
from lossary.losses.segmentation import *
from lossary.losses.sequence import *
from lossary.losses.structured import *
from lossary.losses.penalty import *
from lossary.losses.preference import *
from lossary.losses.sampling import *
