"""The PyTorch backend: the array namespace `xp`, autograd functions, operators for the compiler, and the fast path."""
