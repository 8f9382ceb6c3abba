"""Arrays in `.npz`, `.npy` and `.pt` files, by their headers. Imports torch for `.pt` only."""

import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_lightning.errors import DataError

Array = NDArray[Any]

_ENDINGS = (".npz", ".npy", ".pt")
# What reading a file that is damaged, or of another kind, raises.
BROKEN = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)


class StoredArray(NamedTuple):
    """An array in a file: what is known without reading its values, and how to read them."""

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Array]


def stored_arrays(path: Path) -> Mapping[str, StoredArray]:
    """The arrays of a file by their names; `images` if it has one without a name.

    Raises:
        DataError: it cannot be read, or is of another kind.
    """
    if path.suffix not in _ENDINGS:
        raise DataError(f"{path} is no file of arrays: they end in {', '.join(_ENDINGS)}")
    try:
        if path.suffix == ".npz":
            return _of_npz(path)
        if path.suffix == ".npy":
            with path.open("rb") as file:
                shape, dtype = _header(file)
            return {"images": StoredArray(shape, dtype, lambda: np.load(path, allow_pickle=False))}
    except BROKEN as error:
        raise DataError(f"{path} cannot be read as {path.suffix}: {error}") from error
    return _of_pt(path)


def _of_npz(path: Path) -> dict[str, StoredArray]:
    def reader(name: str) -> Callable[[], Array]:
        def read() -> Array:
            with np.load(path, allow_pickle=False) as content:
                return content[name]

        return read

    found = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if member.endswith(".npy"):
                name = member.removesuffix(".npy")
                with archive.open(member) as file:
                    found[name] = StoredArray(*_header(file), reader(name))
    return found


def _header(file: Any) -> tuple[tuple[int, ...], str]:
    """Shape and type of an array in NumPy's format."""
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"its format has version {version}")
    shape, _, dtype = readers[version](file)
    return shape, str(dtype)


def _of_pt(path: Path) -> dict[str, StoredArray]:
    import torch  # takes seconds, and only these files need it

    try:
        # Without `mmap`, older files are read whole.
        content = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except Exception as error:  # as many kinds as there are damages
        raise DataError(
            f"{path} cannot be read as .pt of plain tensors: it is damaged, or holds other objects"
        ) from error
    tensors = {"images": content} if isinstance(content, torch.Tensor) else content
    if not isinstance(tensors, dict) or not all(
        isinstance(value, torch.Tensor) and value.layout is torch.strided
        for value in tensors.values()
    ):
        raise DataError(f"{path} must hold a tensor, or a dict of tensors by name")
    return {
        str(name): StoredArray(
            tuple(value.shape), str(value.dtype).removeprefix("torch."), value.detach().numpy
        )
        for name, value in tensors.items()
    }
