"""Losses for PyTorch: modules of the whole catalogue, penalties on parameters, and totals of several tasks."""

from lossary.nn.catalogue import *
