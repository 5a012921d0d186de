"""Moved to `lossary.catalogue.domains` and `lossary.catalogue.signatures`."""

from lossary.catalogue.domains import *  # noqa: F403
from lossary.catalogue.signatures import *  # noqa: F403
