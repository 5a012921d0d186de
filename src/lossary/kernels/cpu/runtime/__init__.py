"""Runtime of compiled kernels: the cache of machine code, the compiler, memory, threads, array layouts, sums."""
