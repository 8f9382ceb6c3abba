"""The leaderboard that a sweep ends with."""

import json
from pathlib import Path

import pytest

from conftest import DIGITS, MINIMAL, CallCommand
from run_folders import write_run
from vae_lightning.summarizing.run import summarize_sweep

SMALL = ("model.encoder.hidden=[4]", "model.decoder.hidden=[4]", "trainer.max_epochs=1")


def test_a_sweep_ends_with_the_leaderboard_and_the_reason_of_failed_jobs(
    call_train: CallCommand, tmp_path: Path
) -> None:
    outcome = call_train("-m", *DIGITS, *MINIMAL, *SMALL, "optimizer.lr=1e-3,1e30")
    assert outcome.status == 1
    (sweep,) = (tmp_path / "outputs/train/multiruns").iterdir()
    table = outcome.out.rpartition("\njob ")[2]
    assert "* │ 0.001 │    1 │" in table
    assert "1_lr=1e+30: failed: distortion" in table
    facts = json.loads((sweep / "summary.json").read_text())
    assert [row["setting"] for row in facts["groups"][0]["rows"]] == [{"optimizer.lr": 0.001}]
    assert facts["without_result"][0]["folder"] == "1_lr=1e+30"


def test_without_validation_a_sweep_is_sorted_by_the_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "0", [], {"test/elbo": -1.0})
    summarize_sweep(tmp_path)
    assert "* best test/elbo" in capsys.readouterr().out


def test_a_sweep_that_leaves_nothing_has_no_leaderboard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "0")
    summarize_sweep(tmp_path)
    assert capsys.readouterr().out == ""
