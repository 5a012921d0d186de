"""Plots of losses: value, gradient and curvature along the axis that is natural to each.

>>> import lossary.plots
>>> line = lossary.plots.curve("absolute_error")
>>> line.axis, bool(abs(line.kinks[0]) < 1e-9)
('residual', True)
"""

from lossary.plots.curve_data import QUANTITIES as QUANTITIES
from lossary.plots.curve_data import Curve as Curve
from lossary.plots.curve_data import curve as curve
from lossary.plots.curve_data import curves as curves
from lossary.plots.curve_data import path as path
from lossary.plots.curve_data import targets as targets
from lossary.plots.draw import COLOURS as COLOURS
from lossary.plots.draw import drawn as drawn
from lossary.plots.draw import plot as plot
