"""What a run says before and after training."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import DIGITS, MINIMAL, Outcome
from vae_lightning.evaluation.report import _notes

CallTrain = Callable[..., Outcome]

EXPERIMENT = """# @package _global_
defaults:
  - override /data: digits
data:
  val_size: 37
trainer:
  max_epochs: 1
expected:
  val/elbo:
    value: -400.0
    tolerance: 390.0
    seeds: 2
  test/nll:
    value: 300.0
    tolerance: 1.0
    seeds: 2
    num_samples: 500
"""


def test_a_run_that_stops_early_says_why_and_which_epoch_was_the_best(
    call_train: CallTrain,
) -> None:
    outcome = call_train(
        *DIGITS, "callbacks=[minimal,early_stopping]", "logger=none", "trainer.max_epochs=9",
        "callbacks.early_stopping.patience=2", "callbacks.early_stopping.min_delta=1e6",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    (score,) = re.findall(r"^best +epoch 3, by val/elbo (-[\d.]+)$", outcome.out, re.M)
    assert re.search(r"^epoch 3/9 .*" + re.escape(score), outcome.out, re.M)
    reason = "stopped early: val/elbo was no higher in the last 2 validations than the best so far"
    assert reason in outcome.out
    assert "seed 42, 3 epochs" in outcome.out


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            ["seed=1", "nll_samples=7"],
            r"val/elbo -400.00 ± 390.00 \(2 seeds\); this run: -\d+.\d\d, within it\n"
            r"expected +test/nll 300.00 ± 1.00: run evaluate num_samples=500",
        ),
        (["model.latent_dim=3"], r"not compared, .* other settings than model.latent_dim=3"),
    ],
    ids=["the same settings", "others"],
)
def test_a_run_of_an_experiment_is_compared_unless_its_settings_differ(
    call_train: CallTrain, tmp_path: Path, settings: list[str], said: str
) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "mine.yaml").write_text(EXPERIMENT, encoding="utf-8")
    arguments = ["--config-dir=mine", "trainer=cpu", "experiment=mine", "test=false"]
    outcome = call_train(*arguments, *MINIMAL, *settings)
    assert outcome.status == 0, outcome.err
    assert re.search(f"^expected +{said}$", outcome.out, re.M), outcome.out


def test_an_evaluation_explains_samples_that_are_all_alike_and_few_images() -> None:
    fine = {"precision": 0.9, "recall": 0.5, "frechet_distance": 3.0}
    assert _notes(fine, 10_000) == []
    (alike,) = _notes({**fine, "precision": 1.0, "recall": 0.0}, 10_000)
    assert "the samples are nearly all alike" in alike
    (few,) = _notes(fine, 30)
    assert "compare it only with distances of as many" in few
