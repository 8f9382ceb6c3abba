"""Checkpoints of earlier releases load, evaluate to their figures, and resume.

`legacy/<version>/` holds small checkpoints that the release of that version wrote, and the figures
that it printed. They name classes and values that have moved or have been renamed since.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import MINIMAL, CallCommand, read_metrics
from vae_lightning import load
from vae_lightning.checkpoint import Checkpoint
from vae_lightning.config.older_versions import MOVED

LEGACY = Path(__file__).parent / "legacy"
FILES = sorted(LEGACY.glob("*/*.ckpt"))
NAMES = [f"{file.parent.name} {file.stem}" for file in FILES]


def settings(checkpoint: Checkpoint) -> list[str]:
    """What to type to go on with the model of a checkpoint."""
    chosen = {
        "flows": [
            "model/posterior=flow", "model.posterior.transforms=2", "model.posterior.hidden=[6]",
            "model/prior=flow", "model.prior.transforms=1", "model.prior.hidden=[6]",
            "model.prior.bins=3",
        ],
        "sphere": [
            "model/posterior=von_mises_fisher", "model/prior=uniform_sphere",
            "optimizer=adam_normgrad",
        ],
    }[checkpoint.path.stem]  # fmt: skip
    return [
        "data=digits", "trainer=cpu", "data.size=8", "model.encoder.hidden=[8]",
        "model.decoder.hidden=[8]", "model.latent_dim=3", "seed=1", *MINIMAL, *chosen,
    ]  # fmt: skip


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_an_earlier_checkpoint_tests_to_the_figures_that_its_release_printed(
    file: Path, call_command: CallCommand, tmp_path: Path
) -> None:
    outcome = call_command(*settings(Checkpoint(file)), "train=false", f"ckpt_path={file}")
    assert outcome.status == 0, outcome.err
    (run,) = (tmp_path / "outputs" / "train" / "runs").iterdir()
    metrics = read_metrics(run)
    figures = json.loads((file.parent / "figures.json").read_text())[file.stem]
    for name, value in figures.items():
        assert metrics[name] == pytest.approx(value, rel=1e-5, abs=1e-5), name


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_an_earlier_checkpoint_resumes(
    file: Path, call_command: CallCommand, tmp_path: Path
) -> None:
    outcome = call_command(
        *settings(Checkpoint(file)), "trainer.max_epochs=3", f"ckpt_path={file}", "test=false"
    )
    assert outcome.status == 0, outcome.err
    assert "epoch 3/3" in outcome.out
    assert "epoch 2/3" not in outcome.out
    (run,) = (tmp_path / "outputs" / "train" / "runs").iterdir()
    before = Checkpoint(file).content["state_dict"]
    after = Checkpoint(run, "last").content["state_dict"]
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_an_earlier_checkpoint_loads_with_its_data(file: Path) -> None:
    assert load(file).sample(2).shape == (2, 1, 8, 8)
    data = Checkpoint(file).data()
    assert (data.name, data.protocol.validation) == ("digits", "split")


def test_every_moved_name_leads_to_a_class() -> None:
    for old, new in MOVED.items():
        module, _, name = new.rpartition(".")
        found: Any = getattr(__import__(module, fromlist=[name]), name)
        assert isinstance(found, type), old
        assert new not in MOVED
