"""One call of a loss: checks, arrays in the type to compute in, value and derivatives, weights and reduction."""
