"""The report of a comparison: one HTML page that needs nothing else, not even a network."""

from lossary.report.page import render as render
