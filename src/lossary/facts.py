"""Moved to `lossary.catalogue.domains`."""

from lossary.catalogue.domains import *  # noqa: F403
