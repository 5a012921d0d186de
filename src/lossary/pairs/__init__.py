"""From a batch to rows of similarities or distances, and the gradient back to the batch."""
