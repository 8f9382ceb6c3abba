"""Checkpoints of small models that were never trained, and configurations of `generate` on them."""

import json
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from vae_lightning import __version__
from vae_lightning.config import compose, instantiate, to_container
from vae_lightning.data.resizing import resize
from vae_lightning.data.sources import Digits
from vae_lightning.generation.run import generate, prepare

# A few hundred weights; the digits at their own size.
SMALL = (
    "data=digits", "data.size=8", "model.latent_dim=3",
    "model.encoder.hidden=[8]", "model.decoder.hidden=[8]",
)  # fmt: skip


@cache
def _train_config(*overrides: str) -> dict[str, Any]:
    return to_container(compose("train", [*overrides, "paths.run_dir=unused"]))


@cache
def _generate_config(mode: str) -> dict[str, Any]:
    overrides = [f"mode={mode}", "ckpt_path=unset", "paths.run_dir=unset", "device=cpu"]
    return to_container(compose("generate", overrides))


def write_checkpoint(file: Path, *overrides: str, scale: float = 1.0) -> Path:
    """Write a checkpoint, always with the same weights, multiplied by `scale`."""
    config = deepcopy(_train_config(*overrides))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = instantiate(config["model"], "model")
    weights = {f"model.{name}": scale * value for name, value in model.state_dict().items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(
        {"config": config, "state_dict": weights, "vae_lightning_version": __version__}, file
    )
    return file


def generate_config(
    checkpoint: Path | str, folder: Path | str, mode: str, *, seed: int = 0, **options: Any
) -> dict[str, Any]:
    """The configuration of `generate`, with options of the mode."""
    config = deepcopy(_generate_config(mode))
    config["ckpt_path"], config["paths"]["run_dir"] = str(checkpoint), str(folder)
    config["seed"] = seed
    config["mode"] |= options
    return config


def run_generate(
    checkpoint: Path | str, folder: Path | str, mode: str, **options: Any
) -> dict[str, Any]:
    """Run `generate` in this process; returns what `generate.json` holds."""
    generate(prepare(generate_config(checkpoint, folder, mode, **options)))
    return json.loads((Path(folder) / "generate.json").read_text())


@dataclass(frozen=True)
class Generated:
    """What `generate.json` holds, and what was printed."""

    facts: dict[str, Any]
    out: str


class Generate(Protocol):
    def __call__(
        self, checkpoint: Path, mode: str, *, folder: str = "results", **options: Any
    ) -> Generated: ...


def digits(count: int) -> tuple[Tensor, Tensor]:
    """The first test images, in [0, 1], and their labels."""
    images, labels = Digits().load(Path(), train=False)
    return images[:count].float() / 255, labels[:count]


def write_digits(folder: Path, count: int, size: int = 8) -> Tensor:
    """Write the first test images as PNG files; returns them, uint8 (N, 1, size, size)."""
    folder.mkdir()
    images = resize(Digits().load(Path(), train=False)[0][:count], size)
    for index, image in enumerate(images):
        Image.fromarray(image[0].numpy()).save(folder / f"{index}.png")
    return images
