"""The graph of operations that a definition describes: traced once, lowered by an emitter for each device."""
