"""Image files and `.npz` archives, read as uint8 tensors."""

import os
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vae_lightning.data.image_modes import UnknownRangeError, to_bytes
from vae_lightning.data.resizing import crop_and_resize
from vae_lightning.errors import DataError

# Files with these endings are read as images.
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")

# Kinds of files that a message about ignored files names.
_MAX_ENDINGS = 5


@dataclass(frozen=True)
class NamedImages:
    """Images with a name for each.

    Attributes:
        images: uint8 (N, C, H, W).
        names: the file of each image, or its index in an array.
        labels: int64 (N,); None where they are not known.
    """

    images: Tensor
    names: Sequence[str]
    labels: Tensor | None = None


def is_image(name: str) -> bool:
    """Whether a file of this name is read as an image; hidden files are not."""
    return name.lower().endswith(ENDINGS) and not name.startswith(".")


@dataclass(frozen=True)
class FolderListing:
    """The files of a folder and its subfolders, without hidden ones.

    Attributes:
        images: paths of the image files, sorted.
        ignored: how many other files there are, by ending.
    """

    images: Sequence[Path]
    ignored: Counter[str]


def list_images(folder: Path) -> FolderListing:
    """List a folder.

    Raises:
        DataError: it holds no image.
    """
    images: list[Path] = []
    ignored: Counter[str] = Counter()
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if is_image(name):
                images.append(Path(parent, name))
            elif not name.startswith("."):
                ignored[Path(name).suffix.lower() or "no ending"] += 1
    if not images:
        found = f" and {describe_ignored(ignored)}" if ignored else ""
        raise DataError(
            f"{folder} holds no image{found}: the endings looked for are {', '.join(ENDINGS)}"
        )
    return FolderListing(sorted(images), ignored)


def describe_ignored(ignored: Mapping[str, int]) -> str:
    """How many files are not read, and which, as in "3 files that are not read: 2 .heic, 1 .raw".

    Example:
        >>> describe_ignored({".raw": 1, ".heic": 2})
        '3 files that are not read: 2 .heic, 1 .raw'
    """
    kinds = sorted(ignored, key=lambda kind: (-ignored[kind], kind))
    named = [f"{ignored[kind]:,} {kind}" for kind in kinds[:_MAX_ENDINGS]]
    if len(kinds) > _MAX_ENDINGS:
        named.append(f"{len(kinds) - _MAX_ENDINGS} other endings")
    count = sum(ignored.values())
    files = "1 file that is" if count == 1 else f"{count:,} files that are"
    return f"{files} not read: {', '.join(named)}"


def read_image(path: Path, channels: int) -> Tensor:
    """Read one image file as grey (1 channel) or colour (3), rotated upright by its EXIF tag.

    What is transparent shows a white ground.

    Shape:
        returns uint8 (channels, H, W).

    Raises:
        DataError: it cannot be read, or its pixels are of a type whose white is not known.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            ImageOps.exif_transpose(file, in_place=True)
            array = to_bytes(file, channels)
    except UnknownRangeError as error:
        raise DataError(f"{path} {error}") from error
    except Exception as error:  # Pillow raises many types for broken files
        raise DataError(f"{path} is not an image that can be read: {error}") from error
    return torch.from_numpy(array).reshape(*array.shape[:2], -1).permute(2, 0, 1).contiguous()


def read_inputs(path: Path, image_shape: Sequence[int], fit: bool, key: str = "fit") -> NamedImages:
    """Read images that the user names: a file, a folder, or an `.npz` with an array `images`.

    Args:
        path: of the file or folder.
        image_shape: (C, H, W) of the images that the model takes.
        fit: crop and scale images of other sizes, instead of raising.
        key: the configuration key of `fit`, for messages.

    Raises:
        DataError: no image can be read, or one has another size. Files of a folder that cannot
            be read are left out with a warning.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist")
    if path.suffix == ".npz":
        return _read_npz(path, image_shape)
    channels, height, width = image_shape
    if channels not in (1, 3):
        raise DataError(
            f"{path}: the model takes images of {channels} channels, which image files do not "
            f"hold: name an .npz with an array images, uint8 (N, {channels}, {height}, {width})"
        )
    files: Sequence[Path] = [path]
    if path.is_dir():
        listing = list_images(path)
        files = listing.images
        if listing.ignored:
            warnings.warn(f"{path} holds {describe_ignored(listing.ignored)}", stacklevel=2)
    images, read, broken = [], [], []
    for file in files:
        try:
            image = read_image(file, channels)
        except DataError as error:
            if not path.is_dir():
                raise
            broken.append(error)
            continue
        if image.shape[1:] != (height, width):
            if not fit:
                raise DataError(
                    f"{file} has {image.shape[2]} x {image.shape[1]} pixels, and the model takes "
                    f"{width} x {height}: set {key}=true to scale images"
                )
            image = crop_and_resize(image, (height, width))
        images.append(image)
        read.append(str(file.relative_to(path)) if path.is_dir() else str(file))
    if not images:
        raise broken[0]
    if broken:
        others = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
        warnings.warn(f"left out: {broken[0]}{others}", stacklevel=2)
    return NamedImages(torch.stack(images), read)


def _read_npz(path: Path, image_shape: Sequence[int]) -> NamedImages:
    import zipfile
    import zlib

    import numpy as np

    # A .npy file, which holds one array and is no archive, is a TypeError.
    broken = (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error)
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in ("images", "labels") if name in content}
    except broken as error:
        raise DataError(f"{path} cannot be read as .npz: {error}") from error
    if "images" not in arrays:
        raise DataError(f"{path} holds no array named images")
    array = arrays["images"]
    if array.dtype != np.uint8 or list(array.shape[1:]) != list(image_shape) or len(array) == 0:
        raise DataError(
            f"{path} holds images of {array.dtype} and shape {tuple(array.shape)}: it must be "
            f"uint8 and (N, {', '.join(map(str, image_shape))})"
        )
    labels = arrays.get("labels")
    if labels is not None and labels.shape != (len(array),):
        raise DataError(f"{path} holds {labels.shape} labels for {len(array)} images")
    return NamedImages(
        torch.from_numpy(array),
        [str(index) for index in range(len(array))],
        None if labels is None else torch.from_numpy(labels.astype(np.int64)),
    )
