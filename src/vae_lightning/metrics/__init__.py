"""Metrics of a model: torchmetrics that average over images and processes, and functions."""

from vae_lightning.metrics.likelihood import ImageBounds

__all__ = ["ImageBounds"]
