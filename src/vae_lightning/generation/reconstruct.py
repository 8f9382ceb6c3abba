"""Reconstructions, with the error and the bounds of each image."""

import csv
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from vae_lightning.cli.workspace import Workspace
from vae_lightning.data import ImageDataModule
from vae_lightning.drawing.labelled_grid import labelled_grid
from vae_lightning.generation.batches import in_batches
from vae_lightning.generation.inputs import ImageFiles, SelectedImages, Split, SplitImages
from vae_lightning.generation.mode import DataFactory, Mode, ModeResult
from vae_lightning.models import Model
from vae_lightning.utils.checks import at_least

# Images of a split, if `count` is None.
_COUNT = 32
# Images in the picture, at most; the table has all.
_IN_PICTURE = 64
_COLUMNS = 8
_BACKGROUND = 96 / 255

_FIGURES = ("mse", "elbo", "rate", "distortion")


class ReconstructMode(Mode):
    r"""Draw images above their reconstructions, and list the error of each.

    The reconstruction is the mean of p(x|z) at the mean of q(z|x), clipped to [0, 1]; `mse` is its
    mean squared error over pixels and channels. In nats, over `num_samples` draws of z from q(z|x):

    .. math:: \text{distortion} = -\mathbb{E} \log p(x|z), \quad \text{elbo} =
              -\text{distortion} - \text{rate}

    Args:
        count: how many images, the first ones; None takes 32 of a split, and all of `input`.
        split: `train`, `val` or `test`.
        input: instead of a split: an image file, a folder of them, an `.npz`, or a list of these.
        fit: scale images of `input` that have another size.
        classes: of the images of `input`, for a conditional model: one for each, or one for all.
        num_samples: K, draws of z for each image.

    Raises:
        ValueError: a value out of range, or classes for the images of a split.
    """

    def __init__(
        self,
        count: int | None,
        split: Split,
        input: str | Sequence[str] | None,
        fit: bool,
        classes: Sequence[int] | None,
        num_samples: int,
    ) -> None:
        if count is not None:
            at_least("count", count, 1)
        at_least("num_samples", num_samples, 1)
        if input is None and classes is not None:
            raise ValueError(
                f"classes={list(classes)}: the images of a split have labels already: set "
                "mode.classes only together with mode.input"
            )
        self.count = count
        self.num_samples = num_samples
        self.split: Split = split
        self.files = None if input is None else ImageFiles(input, fit, classes)

    def check(self, model: Model, data: DataFactory) -> None:
        if self.files is not None:
            available = len(self.files.load(model).images)
            if self.count is not None and self.count > available:
                raise ValueError(f"count={self.count} is too many: input has {available} images")
        else:
            module = data()
            self._split_images(module).check(module)

    def make(self, workspace: Workspace) -> ModeResult:
        from vae_lightning.metrics.bounds import bound_name, has_bound

        model, folder = workspace.model, workspace.folder
        selected = self._select(workspace)
        images, labels = selected.images, selected.labels_for(model)
        reconstructions = in_batches(model.reconstruct, images, labels).clamp(0, 1)
        figures = self._figures(workspace, images, reconstructions, labels)
        part = slice(_IN_PICTURE)
        picture = folder / "reconstructions.png"
        _draw(images[part], reconstructions[part], figures[part, 0], picture)
        table = folder / "reconstructions.csv"
        _write_table(table, selected, figures)

        means = dict(zip(_FIGURES, figures.mean(0).tolist(), strict=True))
        bound = bound_name(workspace.datamodule, model)
        draws = f"{self.num_samples} draw{'s' * (self.num_samples > 1)} of z"
        notes = [f"elbo, rate and distortion: the mean over {draws} for each image; {bound}"]
        if not has_bound(model):
            notes = [f"elbo: {bound}"]
        if len(images) > _IN_PICTURE:
            notes.append(f"the picture shows the first {_IN_PICTURE} images, the .csv has all")
        return ModeResult(
            [picture, table],
            {
                "images": len(images),
                "of": self.split if self.files is None else self.files.paths,
                "binarize": workspace.datamodule.protocol.binarize,
                "num_samples": self.num_samples,
                "bound": bound,
                **means,
            },
            [
                ("images", f"{len(images):,}", ""),
                ("mse", f"{means['mse']:.4f}", "per pixel"),
                *((name, f"{means[name]:.2f}", "nats per image") for name in _FIGURES[1:]),
            ],
            [*selected.notes, *notes],
        )

    def _split_images(self, data: ImageDataModule) -> SplitImages:
        count = min(_COUNT, data.num_images[self.split]) if self.count is None else self.count
        return SplitImages(f"count={count}", range(count), self.split)

    def _select(self, workspace: Workspace) -> SelectedImages:
        if self.files is None:
            return self._split_images(workspace.data).select(workspace)
        return self.files.select(workspace)[: self.count]

    def _figures(
        self, workspace: Workspace, images: Tensor, reconstructions: Tensor, labels: Tensor | None
    ) -> Tensor:
        """The values of `_FIGURES` for each image, (N, 4), on the CPU."""
        from vae_lightning.metrics import ImageBounds
        from vae_lightning.metrics.likelihood import BOUNDS

        bounds = ImageBounds(self.num_samples, workspace.seed)
        bounds.update(workspace.model, images, torch.arange(len(images)), labels)
        values = dict(zip(BOUNDS, bounds.compute().cpu().T, strict=True))
        values["mse"] = (images - reconstructions).square().mean((1, 2, 3)).double().cpu()
        return torch.stack([values[name] for name in _FIGURES], dim=1)


def _draw(images: Tensor, reconstructions: Tensor, errors: Tensor, file: Path) -> None:
    columns = min(_COLUMNS, len(images))
    rows = zip(images.split(columns), reconstructions.split(columns), strict=True)
    # The last row is padded, so that reconstructions stay below their images.
    groups = [torch.cat([_padded(part, columns) for part in pair]) for pair in rows]
    captions = [[f"{error:.3f}" for error in part] for part in errors.split(columns)]
    title = "images, their reconstructions, squared error per pixel"
    labelled_grid(groups, columns, title=title, captions=captions).save(file)


def _padded(images: Tensor, count: int) -> Tensor:
    missing = count - len(images)
    return torch.cat([images, images.new_full((missing, *images.shape[1:]), _BACKGROUND)])


def _write_table(file: Path, selected: SelectedImages, figures: Tensor) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "class", *_FIGURES])
        labels = [""] * len(figures) if selected.labels is None else selected.labels.tolist()
        for name, label, row in zip(selected.names, labels, figures.tolist(), strict=True):
            writer.writerow([name, label, *(f"{value:.6g}" for value in row)])
