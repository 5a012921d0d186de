"""Benchmarks of Lossary and its peers: one process, contenders in turns, timed only after their results agree.

The way of one run: a suite (`benchmarks.suites`) names cases; a case, opened, gives a contender for each peer
(`cases`); their answers are held against an independent one in double precision (`agreement`); those that pass take
turns (`timing`) beside a copy of memory; what they need in memory is read in child processes (`memory`); the rows
become a report (`report`, `page`, `drawing`), which names the machine (`machine`). `engine.measure` does all of it.

>>> from benchmarks import SUITES, Options, measure
>>> report = measure(SUITES["pointwise"], Options(sizes=((1000,),), losses=("huber",)), against=("numpy",),
...                  seconds=0.1, memory=False)
>>> ratio = report.rows[0].ratio("numpy")  # its time divided by ours
>>> ratio.low <= ratio.middle <= ratio.high
True
"""

from benchmarks.cases import Options as Options
from benchmarks.engine import measure as measure
from benchmarks.report import Report as Report
from benchmarks.suites import SUITES as SUITES
