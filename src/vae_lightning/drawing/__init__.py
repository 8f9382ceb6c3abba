"""Pictures for callbacks and commands alike: grids, figures, latent traversals."""
