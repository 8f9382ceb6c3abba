"""Images drawn from a model."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import torch

from vae_lightning.cli.workspace import Workspace
from vae_lightning.drawing.grids import grid, png
from vae_lightning.generation.latent_mixture import check_fits, fit_mixture
from vae_lightning.generation.mode import MakeData, Mode, ModeResult, check_classes
from vae_lightning.generation.sampling import Block, Draw, sampled
from vae_lightning.generation.writers import Write, in_a_thread, npz, png_folder
from vae_lightning.models import Model
from vae_lightning.utils.checks import at_least, positive
from vae_lightning.utils.progress import progress

# Beside many images, so many are shown; and no more than this fit into one picture.
_PREVIEW = 64
_MOST_IN_A_GRID = 10_000


class Samples(Mode):
    """Mean images of p(x|z), z from the prior or from a mixture fitted to the aggregate posterior.

    Image i depends on the seed and on i: more of them begin with the same ones, whatever the size
    of the blocks (but for the rounding of a grey level).

    Args:
        count: how many.
        format: `grid` makes one picture; `png` a folder of PNGs, with a folder for each class where
            there are any; `npz` one file with `images` uint8 (N, C, H, W), `latents` float32 (N, D)
            and, of a conditional model, `labels` int64 (N,).
        draw_from: `prior`, or `mixture`; see `generation.aggregate`.
        components: of the mixture.
        temperature: below 1, nearer to the modes of the prior, or of the mixture's components.
        classes: those to draw, each in turn, of a conditional model; None takes all.
        block_size: images decoded at once: what memory is needed for.
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
        if format == "grid" and count > _MOST_IN_A_GRID:
            raise ValueError(
                f"count={count} is too many for one picture, which holds {_MOST_IN_A_GRID}: "
                "set mode.format=png or mode.format=npz"
            )
        if classes is not None and not classes:
            raise ValueError("classes=[] is empty: name some, or leave mode.classes=null")
        self.count = count
        self.format = format
        self.draw_from = draw_from
        self.components = components
        self.temperature = temperature
        self.classes = classes
        self.block_size = block_size

    def check(self, model: Model, data: MakeData) -> None:
        if self.classes is not None:
            if model.num_classes is None:
                raise ValueError(
                    f"classes={list(self.classes)}: this model knows no classes: leave "
                    "mode.classes=null, or train one with model=conditional"
                )
            check_classes(model, torch.tensor(self.classes))
        if self.format == "png" and model.image_shape[0] not in (1, 3):
            raise ValueError(
                f"format=png is for 1 or 3 channels, and the model's images have "
                f"{model.image_shape[0]}: set mode.format=npz"
            )
        if self.draw_from == "mixture":
            check_fits(model)
        else:
            model.sample_latents(1, self.temperature)

    def make(self, workspace: Workspace) -> ModeResult:
        model = workspace.model
        draw, facts = self._source(workspace)
        started = time.perf_counter()
        blocks = sampled(model, draw, self.count, self.classes, self.block_size)
        first = next(blocks)
        preview = []
        wanted = self.count if self.format == "grid" else min(self.count, _PREVIEW)
        with (
            self._writer(workspace.folder, first) as (write, files),
            progress("images", self.count) as advance,
        ):
            for block in chain([first], blocks):
                if wanted > 0:
                    preview.append(block.images[:wanted].clone())
                    wanted -= len(preview[-1])
                write(block)
                advance(len(block.images))
        seconds = time.perf_counter() - started
        num_classes = len(self.classes or ()) or model.num_classes or 1
        files = [*files, self._picture(workspace.folder, torch.cat(preview), num_classes)]
        facts = {
            "count": self.count,
            "format": self.format,
            "draw_from": self.draw_from,
            "temperature": self.temperature,
            "classes": self.classes,
            **facts,
        }
        return ModeResult(files, facts, self._table(model, facts, seconds))

    def _source(self, workspace: Workspace) -> tuple[Draw, dict[str, Any]]:
        """What latents are drawn from, and what is to be said of it."""
        if self.draw_from == "prior":
            return lambda count: workspace.model.sample_latents(count, self.temperature), {}
        images, labels = workspace.images("train")
        mixture, facts = fit_mixture(
            workspace.model, images, labels, components=self.components, seed=workspace.seed
        )
        return lambda count: mixture.sample(count, self.temperature), {"mixture": facts}

    @contextmanager
    def _writer(self, folder: Path, first: Block) -> Iterator[tuple[Write, list[Path]]]:
        """What takes the blocks, and what there is at the end beside the picture."""
        if self.format == "grid":
            yield lambda block: None, []
            return
        path = folder / ("samples.npz" if self.format == "npz" else "samples")
        format_ = npz if self.format == "npz" else png_folder
        with format_(path, self.count, first) as write, in_a_thread(write) as write_later:
            yield write_later, [path]

    def _picture(self, folder: Path, images: torch.Tensor, num_classes: int) -> Path:
        # Each class has columns of its own.
        columns = num_classes * max(1, round(math.sqrt(len(images)) / num_classes))
        file = folder / "samples.png"
        file.write_bytes(png(grid(images / 255, columns)))
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
            settled = "" if fit["converged"] else ", not converged"
            rows.append(("components", str(self.components), f"normals{settled}"))
            rows.append(("fitted to", f"{fit['images']:,}", f"of {fit['of']:,} training images"))
        if self.format != "grid":
            rows.append(("speed", f"{self.count / seconds:,.0f}", "images per second, written"))
        return rows
