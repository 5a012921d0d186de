"""Hand-written kernels of the recursions over time: CTC, the transducer, the linear-chain CRF."""
