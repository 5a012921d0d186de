"""Intermediate representation of kernels: traced from a definition, lowered to programs, printed by an emitter."""
