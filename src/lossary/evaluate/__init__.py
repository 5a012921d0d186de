"""Evaluation of one call of a loss: checks, dtypes, value and derivatives, weights and reduction."""
