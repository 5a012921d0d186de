"""What runs a compiled kernel: the cache of machine code, the compiler, memory, threads, array layouts, sums."""
