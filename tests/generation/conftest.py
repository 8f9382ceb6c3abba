"""Fixtures for the modes: checkpoints, runs of a mode, and the images that it draws."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from torch import Tensor

from untrained import SMALL, Generate, Generated, run_generate, write_checkpoint
from vae_lightning.drawing.gif import write_gif
from vae_lightning.drawing.labelled_grid import labelled_grid
from vae_lightning.generation import interpolate, manifold, reconstruct, traverse


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A checkpoint by its overrides, written once; the weights are large, so that the model tells
    images apart."""
    folder = tmp_path_factory.mktemp("untrained")

    @cache
    def checkpoint(*overrides: str) -> Path:
        name = f"{len(list(folder.iterdir()))}.ckpt"
        return write_checkpoint(folder / name, *SMALL, *overrides, scale=4.0)

    return checkpoint


@pytest.fixture
def generate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Generate:
    """Runs a mode in an empty folder, with options of the mode."""
    monkeypatch.chdir(tmp_path)

    def run(checkpoint: Path, mode: str, *, folder: str = "results", **options: Any) -> Generated:
        capsys.readouterr()
        facts = run_generate(checkpoint, folder, mode, **options)
        return Generated(facts, capsys.readouterr().out)

    return run


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[Tensor]]:
    """The images of each picture and each animation, as they are passed on to be drawn."""
    images_drawn: list[list[Tensor]] = []

    def record_grid(groups: Sequence[Tensor], *args: Any, **kwargs: Any) -> Image.Image:
        images_drawn.append(list(groups))
        return labelled_grid(groups, *args, **kwargs)

    def record_gif(images: Tensor, *args: Any) -> None:
        images_drawn.append([images])
        write_gif(images, *args)

    for module in (interpolate, manifold, reconstruct, traverse):
        monkeypatch.setattr(module, "labelled_grid", record_grid)
    monkeypatch.setattr(interpolate, "write_gif", record_gif)
    return images_drawn
