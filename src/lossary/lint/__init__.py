"""A linter for losses: softmax before a loss that applies it, formulas that overflow, graphs that are kept alive.

It reads code and never runs it. `check_source` looks at a text, `check_paths` at files and folders; the command is
``lossary lint``. The rules are records: `RULES` has them by code, and docs/lint.md is made from them.

>>> from lossary.lint import check_source
>>> code = '''
... import torch
... from torch import nn
...
... def step(z, y):
...     p = torch.softmax(z, 1)
...     return nn.CrossEntropyLoss()(p, y)
... '''
>>> [(finding.code, finding.line) for finding in check_source(code)]
[('LOS101', 7)]
"""

from lossary.lint.config import Config as Config
from lossary.lint.engine import check_paths as check_paths
from lossary.lint.engine import check_source as check_source
from lossary.lint.records import RULES as RULES
from lossary.lint.records import Finding as Finding
from lossary.lint.records import Rule as Rule
