"""The data protocol on a folder of the user's own images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from vae_lightning.data.binarisation import Binarize
from vae_lightning.data.datamodule import ImageDataModule
from vae_lightning.data.folder import ImageFolder, counted
from vae_lightning.data.in_files import OnError


class ImageFolderModule(ImageDataModule):
    """Serves the images of a folder; only the arguments are other than those of other data.

    Args:
        name: the data set's name in results and folder names.
        root: the folder.
        size: height and width of the images served, in pixels.
        channels: 1 for grey, 3 for colour.
        num_classes: the folder's own.
        batch_size: as for other data.
        eval_batch_size: as for other data.
        test_size: test images where there is no folder `test`: a number, or a share below 1.
        val_size: the same of validation images, where there is no folder `val`.
        validation: as for other data.
        binarize: as for other data.
        held_out: as for other data.
        on_error: leave out files that cannot be read (`skip`), or stop (`raise`).
        max_resident_gb: images that take more memory than this stream from their files.
        num_workers: processes that read them, at the most.
        cache: folder for what evaluation computes of the images.
        seed: as for other data.

    Raises:
        ValueError: a value is out of range, or the folder is missing or empty.
    """

    shared_root = False

    def __init__(
        self,
        name: str,
        root: str | None,
        size: int,
        channels: int,
        num_classes: int,
        batch_size: int,
        eval_batch_size: int,
        test_size: float,
        val_size: float,
        validation: Literal["split", "test"],
        binarize: Binarize,
        held_out: Sequence[int],
        on_error: OnError,
        max_resident_gb: float,
        num_workers: int,
        cache: str,
        seed: int,
    ) -> None:
        if root is None:
            raise ValueError("root is missing: name the folder of your images, data.root=<folder>")
        source = ImageFolder(
            root, size, channels, test_size, on_error, max_resident_gb, num_workers
        )
        held = 0 if source.num_val else counted("val_size", val_size, source.num_train)
        super().__init__(
            name=name,
            source=source,
            root=root,
            size=size,
            channels=channels,
            num_classes=num_classes,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            val_size=held,
            validation=validation,
            binarize=binarize,
            held_out=held_out,
            seed=seed,
        )
        self.cache = Path(cache).expanduser()
