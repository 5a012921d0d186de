"""The NumPy backend: the array namespace `xp`, and the fast path of NumPy calls."""
