"""A linear layer and its loss computed together, in chunks of rows, so that the logits are never all in memory."""
