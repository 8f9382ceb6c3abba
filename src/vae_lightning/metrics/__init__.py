"""Metrics: torchmetrics that average over images and processes."""

from vae_lightning.metrics.image_average import ImageAverage

__all__ = ["ImageAverage"]
