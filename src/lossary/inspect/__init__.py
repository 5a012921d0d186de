"""Inspection of losses: `explain` one computation step by step, `diagnose` one call, `watch` a training run.

The functions are names of the package (`lossary.explain`); the classes that they return are named here.
"""

from lossary.inspect.diagnosis import ClassStatistics as ClassStatistics
from lossary.inspect.diagnosis import Culprit as Culprit
from lossary.inspect.diagnosis import Diagnosis as Diagnosis
from lossary.inspect.diagnosis import diagnose as diagnose
from lossary.inspect.explanation import Explanation as Explanation
from lossary.inspect.explanation import Section as Section
from lossary.inspect.explanation import explain as explain
from lossary.inspect.tracing import Step as Step
from lossary.inspect.watching import Event as Event
from lossary.inspect.watching import Watch as Watch
from lossary.inspect.watching import watch as watch
