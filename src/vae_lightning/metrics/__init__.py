"""Metrics of models, latents and images."""

from vae_lightning.metrics.likelihood import ImageBounds

__all__ = ["ImageBounds"]
