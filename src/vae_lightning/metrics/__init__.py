"""Metrics of models, latents and images."""

from vae_lightning.metrics.image_average import ImageAverage
from vae_lightning.metrics.likelihood import ImageBounds

__all__ = ["ImageAverage", "ImageBounds"]
