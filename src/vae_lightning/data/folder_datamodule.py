"""The LightningDataModule of a folder of image files."""

from collections.abc import Sequence
from pathlib import Path

from vae_lightning.data.binarization import Binarize
from vae_lightning.data.datamodule import ImageDataModule
from vae_lightning.data.file_dataset import OnError
from vae_lightning.data.image_folder import ClassOrder, ImageFolder, number_of_images
from vae_lightning.data.protocol import Validation


class ImageFolderModule(ImageDataModule):
    """Serves the images of a folder: an `ImageDataModule` whose source is an `ImageFolder`.

    Args:
        name: the data set's name in results and folder names.
        root: the folder.
        size: as for `ImageFolder`.
        channels: as for `ImageFolder`.
        num_classes: the number of classes of the folder.
        batch_size: as for `ImageDataModule`.
        eval_batch_size: as for `ImageDataModule`.
        test_size: as for `ImageFolder`.
        val_size: validation images if there is no folder `val`: a number, or a fraction of the
            training images below 1.
        validation: as for `ImageDataModule`.
        binarize: as for `ImageDataModule`.
        held_out: as for `ImageDataModule`.
        on_error: as for `ImageFolder`.
        max_resident_gb: as for `ImageFolder`.
        num_workers: as for `ImageFolder`.
        class_order: as for `ImageFolder`.
        cache: folder of what evaluation computes from the images.
        seed: as for `ImageDataModule`.

    Raises:
        ValueError: as for `ImageFolder` and `ImageDataModule`.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from PIL import Image
        >>> with TemporaryDirectory() as folder:
        ...     for i in range(10):
        ...         Image.new("L", (12, 9), 25 * i).save(f"{folder}/{i}.png")
        ...     data = ImageFolderModule(
        ...         name="greys", root=folder, size=8, channels=1, num_classes=0, batch_size=4,
        ...         eval_batch_size=4, test_size=0.2, val_size=1, validation="split",
        ...         binarize="none", held_out=[], on_error="skip", max_resident_gb=1,
        ...         num_workers=0, class_order="number", cache=folder, seed=0,
        ...     )
        ...     data.prepare_data()
        ...     data.setup("fit")
        >>> data.num_images
        {'train': 7, 'val': 1, 'test': 2}
        >>> images, labels = next(iter(data.train_dataloader()))
        >>> images.shape
        torch.Size([4, 1, 8, 8])
    """

    shared_root = False

    def __init__(
        self,
        name: str,
        root: str | None,
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
        on_error: OnError,
        max_resident_gb: float,
        num_workers: int,
        class_order: ClassOrder,
        cache: str,
        seed: int,
    ) -> None:
        if root is None:
            raise ValueError("root is missing: name the folder of your images, data.root=<folder>")
        source = ImageFolder(
            root, size, channels, test_size, on_error, max_resident_gb, num_workers, class_order
        )
        num_val = number_of_images("val_size", val_size, source.num_train)
        super().__init__(
            name=name,
            source=source,
            root=root,
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
        self.cache = Path(cache).expanduser().absolute()
