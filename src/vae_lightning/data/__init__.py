"""Images as bytes, on the device or in files, and batches of them."""

from vae_lightning.data.arrays_datamodule import ArraysModule
from vae_lightning.data.datamodule import ImageDataModule
from vae_lightning.data.folder_datamodule import ImageFolderModule

__all__ = ["ArraysModule", "ImageDataModule", "ImageFolderModule"]
