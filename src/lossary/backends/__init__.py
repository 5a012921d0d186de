"""Array frameworks: the backend contract, the registry, the call cache, and a backend for NumPy and PyTorch each."""
