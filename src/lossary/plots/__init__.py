"""Plots of losses: value, gradient and curvature along the axis that is natural to each.

>>> import lossary.plots
>>> line = lossary.plots.curve("absolute_error")
>>> line.axis, bool(abs(line.kinks[0]) < 1e-9)
('residual', True)
"""

from lossary.plots.draw import COLOURS as COLOURS
from lossary.plots.draw import QUANTITIES as QUANTITIES
from lossary.plots.draw import Curve as Curve
from lossary.plots.draw import curve as curve
from lossary.plots.draw import curves as curves
from lossary.plots.draw import drawn as drawn
from lossary.plots.draw import plot as plot
from lossary.plots.draw import targets as targets
