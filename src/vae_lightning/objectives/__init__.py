"""Objectives: from a `Trace` to the scalar that is minimised, one bound per file."""

from vae_lightning.objectives.elbo import ELBO
from vae_lightning.objectives.importance_weighted import ImportanceWeighted

__all__ = ["ELBO", "ImportanceWeighted"]
