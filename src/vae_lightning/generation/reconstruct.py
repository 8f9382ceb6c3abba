"""Images encoded and decoded, with what is lost on the way."""

import csv
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from vae_lightning.cli.workspace import Workspace
from vae_lightning.data import ImageDataModule
from vae_lightning.drawing.labelled_grid import labelled_grid
from vae_lightning.generation.inputs import Chosen, Files, Places, Split
from vae_lightning.generation.mode import MakeData, Mode, ModeResult
from vae_lightning.models import Model
from vae_lightning.utils.checks import at_least

# Of a split, where nobody said how many.
_COUNT = 32
# Images in the picture, at the most; the table in the file has all.
_SHOWN = 64
_COLUMNS = 8
# Encoded at once.
_BATCH = 500

_FIGURES = ("mse", "elbo", "rate", "distortion")


class Reconstruct(Mode):
    r"""Images above their reconstructions, with the error of each.

    The reconstruction is the mean of p(x|z) at the centre of q(z|x), cut to [0, 1]; `mse` is its
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
                f"classes={list(classes)}: the images of a split have classes of their own, "
                "only those of mode.input are to be told"
            )
        self.count = count
        self.num_samples = num_samples
        self.split = split
        self.files = None if input is None else Files(input, fit, classes)

    def check(self, model: Model, data: MakeData) -> None:
        if self.files is not None:
            available = len(self.files.load(model).images)
            if self.count is not None and self.count > available:
                raise ValueError(f"count={self.count} is too many: input has {available} images")
        else:
            unread = data()
            self._places(unread).check(unread)

    def make(self, workspace: Workspace) -> ModeResult:
        from vae_lightning.metrics.bounds import bound_name, has_bound

        chosen = self._read(workspace)
        labels = chosen.conditions(workspace.model)
        reconstructions = _reconstructions(workspace.model, chosen.images, labels)
        figures = self._figures(workspace, chosen.images, reconstructions, labels)
        folder = workspace.folder
        picture = folder / "reconstructions.png"
        _picture(chosen.images[:_SHOWN], reconstructions[:_SHOWN], figures[:_SHOWN, 0], picture)
        table = folder / "reconstructions.csv"
        _write_table(table, chosen, figures)

        means = dict(zip(_FIGURES, figures.mean(0).tolist(), strict=True))
        bound = bound_name(workspace.datamodule, workspace.model)
        draws = f"{self.num_samples} draw{'s' * (self.num_samples > 1)} of z"
        notes = [f"elbo, rate and distortion: the mean over {draws} for each image; {bound}"]
        if not has_bound(workspace.model):
            notes = [f"elbo: {bound}"]
        if len(chosen.images) > _SHOWN:
            notes.append(f"the picture shows the first {_SHOWN}, the .csv has all")
        return ModeResult(
            [picture, table],
            {
                "images": len(chosen.images),
                "of": self.split if self.files is None else self.files.paths,
                "binarize": workspace.datamodule.protocol.binarize,
                "num_samples": self.num_samples,
                "bound": bound,
                **means,
            },
            [
                ("images", f"{len(chosen.images):,}", ""),
                ("mse", f"{means['mse']:.4f}", "per pixel"),
                *((name, f"{means[name]:.2f}", "nats per image") for name in _FIGURES[1:]),
            ],
            [*chosen.notes, *notes],
        )

    def _places(self, data: ImageDataModule) -> Places:
        count = min(_COUNT, data.num_images[self.split]) if self.count is None else self.count
        return Places(f"count={count}", range(count), self.split)

    def _read(self, workspace: Workspace) -> Chosen:
        if self.files is None:
            return self._places(workspace.data).read(workspace)
        chosen = self.files.read(workspace)
        kept = slice(self.count)
        labels = None if chosen.labels is None else chosen.labels[kept]
        return Chosen(chosen.images[kept], chosen.names[kept], labels, chosen.notes)

    def _figures(
        self, workspace: Workspace, images: Tensor, reconstructions: Tensor, labels: Tensor | None
    ) -> Tensor:
        """What `_FIGURES` names, of each image, (N, 4), on the CPU."""
        from vae_lightning.metrics import ImageBounds
        from vae_lightning.metrics.likelihood import BOUNDS

        bounds = ImageBounds(self.num_samples, workspace.seed)
        bounds.update(workspace.model, images, torch.arange(len(images)), labels)
        known = dict(zip(BOUNDS, bounds.compute().cpu().T, strict=True))
        known["mse"] = (images - reconstructions).square().mean((1, 2, 3)).double().cpu()
        return torch.stack([known[name] for name in _FIGURES], dim=1)


def _reconstructions(model: Model, images: Tensor, labels: Tensor | None) -> Tensor:
    parts = range(0, len(images), _BATCH)
    return torch.cat(
        [
            model.reconstruct(
                images[start : start + _BATCH],
                None if labels is None else labels[start : start + _BATCH],
            )
            for start in parts
        ]
    ).clamp(0, 1)


def _picture(images: Tensor, reconstructions: Tensor, errors: Tensor, file: Path) -> None:
    columns = min(_COLUMNS, len(images))
    rows = zip(images.split(columns), reconstructions.split(columns), strict=True)
    # A last row that is not full is filled up, so that images stay above their reconstructions.
    blocks = [torch.cat([_filled(part, columns) for part in pair]) for pair in rows]
    captions = [[f"{error:.3f}" for error in part] for part in errors.split(columns)]
    title = "images, their reconstructions, squared error per pixel"
    labelled_grid(blocks, columns, title=title, captions=captions).save(file)


def _filled(images: Tensor, count: int) -> Tensor:
    missing = count - len(images)
    return torch.cat([images, images.new_full((missing, *images.shape[1:]), 96 / 255)])


def _write_table(file: Path, chosen: Chosen, figures: Tensor) -> None:
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "class", *_FIGURES])
        labels = [""] * len(figures) if chosen.labels is None else chosen.labels.tolist()
        for name, label, row in zip(chosen.names, labels, figures.tolist(), strict=True):
            writer.writerow([name, label, *(f"{value:.6g}" for value in row)])
