"""Likelihoods: from the decoder's features to p(x|z), one per file."""
