"""What an evaluation learns from which split, and that all of its noise is the seed's."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from tiny import SIZE, TinySource, tiny_data, tiny_vae
from vae_lightning.cli.workspace import Workspace
from vae_lightning.evaluation.latents import latent_scores
from vae_lightning.evaluation.samples import sample_scores
from vae_lightning.metrics import features
from vae_lightning.utils.pixels import to_float

NUM = 60


def dark_and_bright(dark: int) -> tuple[Tensor, Tensor]:
    """Images of two kinds, of which the dark ones have the label `dark` and the others 1 - dark."""
    generator = torch.Generator().manual_seed(dark)
    images = torch.randint(0, 60, (NUM, 1, SIZE, SIZE), generator=generator)
    is_bright = torch.arange(NUM) % 2
    images[is_bright == 1] += 180
    return images.to(torch.uint8), (is_bright + dark) % 2


def workspace(seed: int = 0) -> Workspace:
    splits = {"train": dark_and_bright(0), "test": dark_and_bright(1)}
    stub: Any = SimpleNamespace(
        model=tiny_vae(),
        seed=seed,
        data=SimpleNamespace(class_names=["a", "b"]),
        images=splits.__getitem__,
        to_model=to_float,
    )
    return cast("Workspace", stub)


def test_probes_learn_from_the_training_split() -> None:
    # Test labels are the opposite of training labels, so a probe that has seen them is right.
    images, labels = dark_and_bright(1)
    scores = latent_scores(workspace(), to_float(images), labels)
    assert scores["knn_accuracy"] == 0
    assert scores["linear_probe_accuracy"] == 0


def test_the_parts_of_the_rate_depend_on_the_seed() -> None:
    images, labels = dark_and_bright(1)
    first, again, other = (
        latent_scores(workspace(seed), to_float(images), labels) for seed in (0, 0, 1)
    )
    assert first == again
    for name in ("sampled_rate", "mutual_information", "marginal_kl"):
        assert first[name] != other[name]


def _sampled(seed: int) -> dict[str, Tensor]:
    stub = workspace(seed)
    cast("Any", stub).data = SimpleNamespace(class_names=[])
    images, labels = TinySource().load(Path(), train=False)
    return sample_scores(stub, "test", to_float(images), labels, None)[1]


def test_samples_depend_on_the_seed_and_reconstructions_do_not() -> None:
    first, again, other = (_sampled(seed) for seed in (0, 0, 1))
    assert torch.equal(first["samples"], again["samples"])
    assert not torch.equal(first["samples"], other["samples"])
    assert torch.equal(first["reconstructions"], other["reconstructions"])


def test_the_classifier_of_the_feature_space_learns_from_the_training_split(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    learned: list[Tensor] = []
    monkeypatch.setattr(features, "_train", lambda _, images, labels: learned.append(images))
    data = tiny_data()
    data.setup("test")
    data.cache = tmp_path
    stub = workspace()
    cast("Any", stub).data = data
    images, labels = TinySource().load(Path(), train=False)
    sample_scores(stub, "test", to_float(images), labels, None)
    assert torch.equal(learned[0], TinySource().load(Path(), train=True)[0])
