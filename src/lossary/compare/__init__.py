"""Compare losses on a data set: train the same model with each, score held-out rows, say which is better."""

from lossary.compare.run import *
