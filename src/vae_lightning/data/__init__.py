"""Images as uint8 tensors on the device, and the batches drawn from them."""

from vae_lightning.data.datamodule import ImageDataModule

__all__ = ["ImageDataModule"]
