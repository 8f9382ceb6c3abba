"""Training on arrays: the run of the command, without its output and its files."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_lightning.api.commands import train
from vae_lightning.api.overrides import override
from vae_lightning.errors import ConfigError, DataError, DivergedError, UserError

if TYPE_CHECKING:  # it takes seconds to import
    from torch import Tensor

    from vae_lightning.models import Model

# No pictures and no TensorBoard.
_SETTINGS = ("data=arrays", "callbacks=minimal", "logger=none")


def fit(
    images: Union[ArrayLike, "Tensor"],
    labels: Union[ArrayLike, "Tensor", None] = None,
    *,
    latent_dim: int | None = None,
    epochs: int | None = None,
    overrides: Sequence[str] = (),
    folder: str | os.PathLike[str] | None = None,
    verbose: bool = False,
) -> "Model":
    """Train a model on an array of images, and return it with its best weights.

    It is the run of `data=arrays` with the same settings: a tenth of the images is set aside for
    the test (`data.test_size`), and a tenth of the rest chooses the best epoch (`data.val_size`).

    Args:
        images: uint8 from 0 to 255, or floats in [0, 1]; floats are rounded to 256 levels.
        labels: whole numbers or text, (N,); a conditional model needs them.
        latent_dim: number of latent dimensions; by default that of the model.
        epochs: by default those of `conf/trainer`.
        overrides: further settings, as on the command line, such as `"model/prior=vamp"`.
        folder: of a run that is tested and kept, with the images as `images.npz`, for `load_run`
            and all commands. By default nothing is kept; the model is the same.
        verbose: print what the command prints.

    Shape:
        images (N, H, W), (N, C, H, W) or (N, H, W, C).

    Returns:
        the model, in evaluation mode on the CPU.

    Raises:
        DataError: an array that does not fit.
        UserError: as for `train`.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> import vae_lightning as vl
        >>> model = vl.fit(load_digits().images / 16, latent_dim=8, epochs=2)
        >>> model.sample(3).shape
        torch.Size([3, 1, 8, 8])
    """
    arrays = {"images": _array(images)}
    if labels is not None:
        arrays["labels"] = _array(labels)
    if any(array.dtype == object for array in arrays.values()):
        raise DataError("images and labels must be arrays of numbers, not of objects")
    settings: dict[str, Any] = {"model.latent_dim": latent_dim, "trainer.max_epochs": epochs}
    given = [override(key, value) for key, value in settings.items() if value is not None]
    with _new_folder(folder) as place:
        file = place / "images.npz"
        np.savez(file, **arrays)  # type: ignore[arg-type]
        given += [override("data.path", file), override("hydra.run.dir", place)]
        given += [] if folder else ["test=false"]
        try:
            with nullcontext() if verbose else redirect_stdout(StringIO()):
                return train(*_SETTINGS, *given, *overrides).model
        except DivergedError as error:
            if folder is not None:
                raise
            # Without the name of its last checkpoint, which is not kept.
            raise DivergedError(f"{error.__cause__}: try a smaller optimizer.lr") from None
        except UserError as error:
            # The caller gave arrays, and knows of no file.
            message = str(error).replace(f"{file}: ", "").replace(str(file), "the array")
            raise type(error)(message) from None


@contextmanager
def _new_folder(path: str | os.PathLike[str] | None) -> Iterator[Path]:
    """A folder for a run, kept if it has a path. One whose run was refused is removed."""
    if path is None:
        with TemporaryDirectory() as temporary:
            yield Path(temporary)
        return
    folder = Path(path).expanduser().absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{path} already holds files: name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    except UserError:
        if [file.name for file in folder.iterdir()] == ["images.npz"]:
            shutil.rmtree(folder)
        raise


def _array(values: Any) -> NDArray[Any]:
    if hasattr(values, "detach"):  # a tensor
        values = values.detach().cpu().numpy()
    return np.asarray(values)
