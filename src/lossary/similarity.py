"""Moved to `lossary.pairs`."""

from lossary.pairs import Coupling as Coupling
from lossary.pairs import cosine_pairs as cosine_pairs
from lossary.pairs import coupling as coupling
from lossary.pairs import hardest_pairs as hardest_pairs
