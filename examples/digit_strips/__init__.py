"""Rows of handwritten digits, read by a small network that learns from CTC, a transducer, or cross-entropy."""
