"""Images as uint8 tensors on the device, or in files, and the batches drawn from them."""

from vae_lightning.data.datamodule import ImageDataModule
from vae_lightning.data.folder_module import ImageFolderModule

__all__ = ["ImageDataModule", "ImageFolderModule"]
