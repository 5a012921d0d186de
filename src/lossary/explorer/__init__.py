"""The explorer: one HTML page on which every loss of numbers or rows is drawn, fitted and worked out in the browser.

It stands alone and asks for nothing over a network. It computes the definitions themselves: `lossary.kernels.js`.
"""

from lossary.explorer.document import model as model
from lossary.explorer.document import page as page
