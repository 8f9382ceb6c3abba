"""Samples from a model."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from vae_lightning.cli.workspace import Workspace
from vae_lightning.drawing.grids import grid, png
from vae_lightning.drawing.labelled_grid import labelled_grid
from vae_lightning.generation.batches import check_classes
from vae_lightning.generation.latent_mixture import check_euclidean, fit_mixture, sample_mixture
from vae_lightning.generation.mode import DataFactory, Mode, ModeResult
from vae_lightning.generation.sampling import DrawLatents, SampleBatch, sample_batches
from vae_lightning.generation.writers import Write, in_background, npz_writer, png_writer
from vae_lightning.models import Model
from vae_lightning.utils.checks import at_least, positive
from vae_lightning.utils.progress import progress

# Images in the preview of `png` and `npz`, and the most that one picture may have.
_PREVIEW = 64
_MAX_IN_GRID = 10_000


class SamplesMode(Mode):
    """Draw z from the prior or from a mixture of normals, and write the mean images of p(x|z).

    Image i depends only on the seed and on i: with the same seed, a larger `count` begins with the
    same images, whatever the `block_size` (except for rounding by one grey level).

    Args:
        count: how many images.
        format: `grid` writes one picture; `png` a folder of PNGs, with a folder for each class of a
            conditional model; `npz` one file with `images` uint8 (N, C, H, W), `latents` float32
            (N, D) and, for a conditional model, `labels` int64 (N,).
        draw_from: `prior`, or `mixture`, fitted to the latents of the training images; see
            `generation.latent_mixture`.
        components: of the mixture.
        temperature: below 1, samples are nearer to the mode of the prior, or to the means of the
            mixture's components.
        classes: labels for a conditional model, repeated in this order; None takes all.
        block_size: images decoded at once.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(
        self,
        count: int,
        format: Literal["grid", "png", "npz"],
        draw_from: Literal["prior", "mixture"],
        components: int,
        temperature: float,
        classes: Sequence[int] | None,
        block_size: int,
    ) -> None:
        at_least("count", count, 1)
        at_least("components", components, 1)
        positive("temperature", temperature)
        at_least("block_size", block_size, 1)
        if format == "grid" and count > _MAX_IN_GRID:
            raise ValueError(
                f"count={count} is too many for one picture, which holds {_MAX_IN_GRID}: "
                "set mode.format=png or mode.format=npz"
            )
        if classes is not None and not classes:
            raise ValueError("classes=[] is empty: name classes, or leave mode.classes=null")
        self.count = count
        self.format = format
        self.draw_from = draw_from
        self.components = components
        self.temperature = temperature
        self.classes = classes
        self.block_size = block_size

    def check(self, model: Model, data: DataFactory) -> None:
        if self.classes is not None:
            if model.num_classes is None:
                raise ValueError(
                    f"classes={list(self.classes)}: this model is not conditional: leave "
                    "mode.classes=null, or train one with model=conditional"
                )
            check_classes(model, torch.tensor(self.classes))
        if self.format == "png" and model.image_shape[0] not in (1, 3):
            raise ValueError(
                f"format=png needs 1 or 3 channels, and the model's images have "
                f"{model.image_shape[0]}: set mode.format=npz"
            )
        if self.draw_from == "mixture":
            check_euclidean(model)
        else:
            model.sample_latents(1, self.temperature)

    def make(self, workspace: Workspace) -> ModeResult:
        model = workspace.model
        draw, facts = self._latents(workspace)
        started = time.perf_counter()
        batches = sample_batches(model, draw, self.count, self.classes, self.block_size)
        first = next(batches)
        preview = []
        wanted = self.count if self.format == "grid" else min(self.count, _PREVIEW)
        with (
            self._writer(workspace.folder, first) as (write, files),
            progress("images", self.count) as advance,
        ):
            for batch in chain([first], batches):
                if wanted > 0:
                    preview.append(batch.images[:wanted].clone())
                    wanted -= len(preview[-1])
                write(batch)
                advance(len(batch.images))
        seconds = time.perf_counter() - started
        files = [*files, self._picture(workspace, torch.cat(preview))]
        facts = {
            "count": self.count,
            "format": self.format,
            "draw_from": self.draw_from,
            "temperature": self.temperature,
            "classes": self.classes,
            **facts,
        }
        return ModeResult(files, facts, self._table(model, facts, seconds))

    def _latents(self, workspace: Workspace) -> tuple[DrawLatents, dict[str, Any]]:
        """How to draw latents, and facts about it."""
        if self.draw_from == "prior":
            return lambda count: workspace.model.sample_latents(count, self.temperature), {}
        images, labels = workspace.images("train")
        mixture, facts = fit_mixture(
            workspace.model,
            images,
            labels,
            components=self.components,
            temperature=self.temperature,
            seed=workspace.seed,
        )
        return lambda count: sample_mixture(mixture, count), {"mixture": facts}

    @contextmanager
    def _writer(self, folder: Path, first: SampleBatch) -> Iterator[tuple[Write, list[Path]]]:
        """A function that writes a batch, and the paths that exist at the end."""
        if self.format == "grid":
            yield lambda batch: None, []
            return
        if self.format == "npz":
            path = folder / "samples.npz"
            writer = npz_writer(path, self.count, first)
        else:
            path = folder / "samples"
            writer = png_writer(path, self.count)
        with writer as write, in_background(write) as write_later:
            yield write_later, [path]

    def _picture(self, workspace: Workspace, images: Tensor) -> Path:
        file = workspace.folder / "samples.png"
        labels = self.classes
        if labels is None and workspace.model.num_classes:
            labels = range(workspace.model.num_classes)
        if labels is None:
            file.write_bytes(png(grid(images, max(1, round(math.sqrt(len(images)))))))
            return file
        # A multiple of the number of classes, so that each column has one class.
        columns = len(labels) * max(1, round(math.sqrt(len(images)) / len(labels)))
        known = workspace.datamodule.class_names
        titles = [known[label] if known else str(label) for label in labels]
        titles *= columns // len(labels)
        labelled_grid([images], columns, column_titles=titles).save(file)
        return file

    def _table(
        self, model: Model, facts: dict[str, Any], seconds: float
    ) -> list[tuple[str, str, str]]:
        height, width = model.image_shape[1:]
        rows = [
            ("images", f"{self.count:,}", f"of {width} x {height} pixels"),
            ("drawn from", self.draw_from, f"temperature {self.temperature:g}"),
        ]
        if "mixture" in facts:
            fit = facts["mixture"]
            converged = "" if fit["converged"] else ", not converged"
            rows.append(("components", str(self.components), f"normals{converged}"))
            rows.append(("fitted to", f"{fit['images']:,}", f"of {fit['of']:,} training images"))
        if self.format != "grid":
            rows.append(("speed", f"{self.count / seconds:,.0f}", "images per second, written"))
        return rows
