"""Grids, figures and latent traversals, for callbacks and commands."""
