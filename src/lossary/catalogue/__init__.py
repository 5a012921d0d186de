"""The catalogue of losses: records, registration, and look-up by name, alias or properties."""

from lossary.catalogue.finding import ranked as ranked
from lossary.catalogue.finding import search as search
from lossary.catalogue.record import Condition as Condition
from lossary.catalogue.record import Definition as Definition
from lossary.catalogue.record import Loss as Loss
from lossary.catalogue.record import _restore as _restore  # pickles of earlier versions name it here
from lossary.catalogue.record import dress as dress
from lossary.catalogue.record import recorded as recorded
from lossary.catalogue.registry import aliases as aliases
from lossary.catalogue.registry import exact as exact
from lossary.catalogue.registry import get as get
from lossary.catalogue.registry import loss as loss
from lossary.catalogue.registry import names as names
from lossary.catalogue.registry import several as several
from lossary.catalogue.tasks import TASKS as TASKS
