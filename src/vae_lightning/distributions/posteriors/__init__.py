"""Posteriors: modules from the features of the encoder to q(z|x), one per file."""
