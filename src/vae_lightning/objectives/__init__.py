"""Objectives: modules from a `Trace` to the loss, one per file."""

from vae_lightning.objectives.elbo import ELBO
from vae_lightning.objectives.importance_weighted import ImportanceWeighted
from vae_lightning.objectives.objective import Objective

__all__ = ["ELBO", "ImportanceWeighted", "Objective"]
