"""The rules, by family: importing this module enters them all."""

from lossary.lint.rules import combined as combined
from lossary.lint.rules import files as files
from lossary.lint.rules import formulas as formulas
from lossary.lint.rules import games as games
from lossary.lint.rules import meaning as meaning
from lossary.lint.rules import names as names
from lossary.lint.rules import outputs as outputs
from lossary.lint.rules import reductions as reductions
from lossary.lint.rules import singular as singular
from lossary.lint.rules import targets as targets
from lossary.lint.rules import training as training
