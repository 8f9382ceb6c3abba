"""The LightningDataModule of a file of arrays."""

from collections.abc import Sequence
from pathlib import Path

from vae_lightning.data.arrays import Arrays
from vae_lightning.data.binarization import Binarize
from vae_lightning.data.datamodule import ImageDataModule
from vae_lightning.data.image_folder import number_of_images
from vae_lightning.data.protocol import Validation


class ArraysModule(ImageDataModule):
    """Serves the images of a file of arrays: an `ImageDataModule` whose source is `Arrays`.

    Args:
        name: the data set's name in results and folder names.
        path: the file.
        size: as for `ImageDataModule`.
        channels: that of the file.
        num_classes: the number of classes of the file.
        batch_size: as for `ImageDataModule`.
        eval_batch_size: as for `ImageDataModule`.
        test_size: as for `Arrays`.
        val_size: validation images if they are not in the file: a number, or a fraction of the
            training images below 1.
        validation: as for `ImageDataModule`.
        binarize: as for `ImageDataModule`.
        held_out: as for `ImageDataModule`.
        cache: folder of what evaluation computes from the images.
        seed: as for `ImageDataModule`.

    Raises:
        ValueError: as for `Arrays` and `ImageDataModule`.
        DataError: as for `Arrays`.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import numpy as np
        >>> with TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/images.npy", np.random.rand(10, 8, 8))
        ...     data = ArraysModule(
        ...         name="arrays", path=f"{folder}/images.npy", size=8, channels=1, num_classes=0,
        ...         batch_size=4, eval_batch_size=4, test_size=0.2, val_size=1, validation="split",
        ...         binarize="none", held_out=[], cache=folder, seed=0,
        ...     )
        ...     data.prepare_data()
        ...     data.setup("fit")
        >>> data.num_images
        {'train': 7, 'val': 1, 'test': 2}
    """

    shared_root = False
    location_key = "path"

    def __init__(
        self,
        name: str,
        path: str | None,
        size: int | Sequence[int],
        channels: int,
        num_classes: int,
        batch_size: int,
        eval_batch_size: int,
        test_size: float,
        val_size: float,
        validation: Validation,
        binarize: Binarize,
        held_out: Sequence[int],
        cache: str,
        seed: int,
    ) -> None:
        if path is None:
            raise ValueError("path is missing: name the file of your images, data.path=<file>")
        source = Arrays(path, test_size)
        num_val = number_of_images("val_size", val_size, source.num_train)
        super().__init__(
            name=name,
            source=source,
            root=str(source.path.parent),
            size=size,
            channels=channels,
            num_classes=num_classes,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            val_size=None if source.num_val else num_val,
            validation=validation,
            binarize=binarize,
            held_out=held_out,
            seed=seed,
        )
        self.location = source.path
        self.cache = Path(cache).expanduser().absolute()
