"""Hand-written kernels of the softmax family: cross-entropy, focal, margins, soft labels."""
