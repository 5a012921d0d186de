"""Size thresholds: from which sizes kernels and threads pay, and which of two kernels takes a row.

The sizes of blocks and tiles that kernels are compiled with are in `lossary.kernels.cpu.sizes`. *Elements* are the
numbers of the array that a loss reads most of: predictions, or logits.
"""

# When a kernel is used; below, the definition is as fast and needs no compiler.
POINTWISE_ELEMENTS = 16384  # elements of a loss on numbers
ROW_ELEMENTS = 16384  # elements of a loss on rows, by loops generated from its definition
SOFTMAX_ELEMENTS = 2048  # logits of the softmax family, of which the definition takes several passes
CTC_ELEMENTS = 256  # logits of CTC
RNNT_ELEMENTS = 4096  # logits of the transducer
CRF_ELEMENTS = 256  # emissions of the linear chain
CRF_MOST_PAIRS = 1 << 25  # numbers of the gradients in transitions: beyond, the definition adds them as it goes

# When several threads share a call: their start costs some tens of microseconds.
SHARED_ELEMENTS = 65536  # elements

# Which kernel takes a row of the softmax family.
SIDE_BY_SIDE_CLASSES = 128  # classes up to which generated loops take it, the hand-written ones a longer one
SHORT_CLASSES = 48  # classes below which the hand-written loops, where they take it, work on rows side by side
TILE_ENTRIES = 32768  # entries of a tile of such rows: with its costs it stays in the second-level cache
MOST_LANES = 2048  # rows of such a tile: nothing more is gained by more
LEAST_LANES = 16  # rows side by side that repay going through an array across its rows: a register of float32

# How many rows generated loops gather at once whose entries are far apart in memory; their values have one sum.
FAR_ROWS = 256  # rows at most
FAR_ENTRIES = 32768  # entries at most

# Definitions.
BLOCK_ELEMENTS = 1 << 17  # elements of a block of examples, which stays in the second-level cache with its temporaries
LARGE_BLOCK_ELEMENTS = 1 << 18  # of many such elements, with less time between the blocks
FEW_BLOCKS = 8  # blocks from which they are made larger
DEVICE_BLOCK_ELEMENTS = 1 << 24  # on a device, which is busy with them: 64 MiB for a temporary in float32

# Buffers.
BUFFERED_BLOCKS = 8  # blocks of a strided or converted input that pass through a buffer at a time
POOLED_BYTES = 4 << 20  # bytes of a result from which its memory is kept for later; below, the C library does so itself
POOL_LIMIT_BYTES = 512 << 20  # bytes of free memory that are kept
FEW_SUMS = 3  # partial sums up to which Python adds them, sooner than a call of compiled code would


def block_of(elements: int) -> int:
    """Return how many of a call's elements a block of them has in the memory of the host."""
    return min(LARGE_BLOCK_ELEMENTS, max(BLOCK_ELEMENTS, elements // FEW_BLOCKS))
