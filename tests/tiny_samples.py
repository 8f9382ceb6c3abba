"""Runs of `mode=samples` on tiny models and data."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from option_grid import option
from tiny import tiny_data
from vae_lightning.cli.workspace import Workspace
from vae_lightning.config import instantiate
from vae_lightning.generation.samples import SamplesMode
from vae_lightning.generation.sampling import sample_batches
from vae_lightning.models import Model
from vae_lightning.utils.random_state import fixed_noise

DEFAULTS: dict[str, Any] = {
    "count": 6,
    "format": "npz",
    "draw_from": "prior",
    "components": 2,
    "temperature": 1.0,
    "classes": None,
    "block_size": 500,
}


class FakeWorkspace(Workspace):
    """A model with the data of `tiny`."""

    def __init__(self, model: Model, folder: Path, seed: int = 0) -> None:
        self.model, self.folder, self.seed = model.eval(), folder, seed
        self.device = torch.device("cpu")
        self.datamodule = tiny_data()

    def images(self, split: str) -> tuple[Tensor, Tensor]:
        data = tiny_data()
        data.setup("test")
        return data.evaluated(split)


def conditional() -> Model:
    """Of three classes."""
    node = option("model", "conditional") | {"num_classes": 3}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return instantiate(node, "model").eval()


def drawn(model: Model, folder: Path, seed: int = 0, **changes: Any) -> Any:
    """The arrays that the mode writes."""
    mode = SamplesMode(**(DEFAULTS | changes))
    mode.check(model, tiny_data)
    folder.mkdir(exist_ok=True)
    with fixed_noise(seed, torch.device("cpu")):
        result = mode.make(FakeWorkspace(model, folder, seed))
    with np.load(result.files[0], allow_pickle=False) as content:
        return {**SimpleNamespace(**content).__dict__, "facts": result.facts}


def batches_of(model: Model, count: int, batch_size: int = 4) -> Any:
    with fixed_noise(0, torch.device("cpu")):
        yield from sample_batches(model, model.sample_latents, count, None, batch_size)
