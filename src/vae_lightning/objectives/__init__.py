"""Objectives: from a `Trace` to the scalar that is minimised, one bound per file."""

from vae_lightning.objectives.elbo import ELBO

__all__ = ["ELBO"]
