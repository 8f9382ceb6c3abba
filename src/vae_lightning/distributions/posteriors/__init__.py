"""Posteriors: from the encoder's features to q(z|x), one per file."""
