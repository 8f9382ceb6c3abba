"""Priors: p(z), what the latent variables are before an image is seen, one per file."""
