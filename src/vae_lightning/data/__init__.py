"""Images as bytes, on the device or in files, and batches of them.

The data modules load torch and lightning when they are first asked for: what a configuration takes
from a file of arrays is known without them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vae_lightning.data.arrays_datamodule import ArraysModule
    from vae_lightning.data.datamodule import ImageDataModule
    from vae_lightning.data.folder_datamodule import ImageFolderModule

__all__ = ["ArraysModule", "ImageDataModule", "ImageFolderModule"]

# The module that each name is taken from.
_HOMES = {
    "ArraysModule": "arrays_datamodule",
    "ImageDataModule": "datamodule",
    "ImageFolderModule": "folder_datamodule",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
