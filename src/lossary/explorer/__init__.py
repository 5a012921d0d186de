"""The explorer: one HTML page on which every loss of numbers or rows is drawn, fitted and worked out in the browser.

It stands alone and asks for nothing over a network. What it computes is `lossary.kernels.js`: the definitions themselves.
"""

from lossary.explorer.page import page as page
