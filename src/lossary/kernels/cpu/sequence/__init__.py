"""Hand-written kernels of the recursions over time: CTC, the RNN transducer, the linear-chain CRF."""
