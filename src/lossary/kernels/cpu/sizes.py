"""The sizes of blocks, tiles and partial sums that compiled kernels are made of.

Each decides in which groups numbers are added, and is compiled into machine code: another value is another kernel, and
may round otherwise. When to use a kernel or threads is decided in `lossary.kernels.thresholds`.
"""

BLOCK = 4096  # elements of a pointwise loss whose values have a sum of their own
PIECE = 512  # elements of a block whose values are kept aside before they are added up
LANES = 64  # rows of a tile of a generated kernel: the most that it works on side by side
CLASSES = 1024  # classes of a long row whose terms are added in the computing type, before float64 goes on
STRIPS = 32  # the same across lanes: as many classes make a partial sum
