"""Helpers around the losses: class weights, negative sampling, padded sequences, preference data, decoding, sums."""
