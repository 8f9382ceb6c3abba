"""`evaluate` with the folder of a sweep: each of its runs, and a leaderboard."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import DIGITS, MINIMAL, CallCommand, Outcome, read_metrics
from vae_lightning import evaluate
from vae_lightning.errors import CheckpointError
from vae_lightning.evaluation.likelihood import likelihood_scores
from vae_lightning.train import main as train_main

SMALL = (*DIGITS, *MINIMAL, *(f"model.{part}.hidden=[4]" for part in ("encoder", "decoder")))
QUICK = ("parts=[likelihood]", "num_samples=3", "num_images=20", "device=cpu")
Call = Callable[..., Outcome]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two latent sizes, with one epoch each."""
    folder = tmp_path_factory.mktemp("trained")
    swept = ("model.latent_dim=2,3", "trainer.max_epochs=1", "hydra.sweep.dir=sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["train", "-m", *SMALL, *swept])
        train_main()
    return folder / "sweep"


@pytest.fixture
def sweep(trained: Path, tmp_path: Path) -> Path:
    """A copy of it in the folder where the test calls commands."""
    return shutil.copytree(trained, tmp_path / "sweep")


@pytest.fixture
def call(call_command: CallCommand) -> Call:
    return lambda *args: call_command(*args, command="evaluate")


def evaluations(sweep: Path) -> dict[str, list[dict[str, Any]]]:
    """What was measured, by the name of the run."""
    return {
        run.name: [read_metrics(file.parent) for file in sorted(run.glob("evaluate/*/*.json"))]
        for run in sorted(sweep.iterdir())
        if run.is_dir()
    }


def test_each_run_is_measured_as_if_alone_and_the_leaderboard_is_sorted_by_the_nll(
    sweep: Path, call: Call
) -> None:
    (sweep / "2_latent_dim=9").mkdir()
    shutil.copytree(sweep / "0_latent_dim=2/.hydra", sweep / "2_latent_dim=9/.hydra")
    outcome = call("ckpt_path=sweep", *QUICK)
    assert outcome.status == 0, outcome.err
    assert "left out because they have not finished: 2_latent_dim=9" in outcome.err
    assert "\njob 1 of 2: latent_dim=2 seed=42\n" in outcome.out
    assert "\njob 2 of 2: latent_dim=3 seed=42 · 0:0" in outcome.out
    found = evaluations(sweep)
    assert [len(measured) for measured in found.values()] == [1, 1, 0]
    summary = json.loads((sweep / "summary.json").read_text())
    assert summary["metric"] == "test/nll"
    assert "* best test/nll" in outcome.out.rpartition("\njob ")[2]

    alone = call("ckpt_path=sweep/1_latent_dim=3", *QUICK)  # not quoted
    assert alone.status == 0, alone.err
    first, second = evaluations(sweep)["1_latent_dim=3"]
    first["protocol"].pop("seconds"), second["protocol"].pop("seconds")
    assert first == second
    logs = list(sweep.glob("1_latent_dim=3/evaluate/*/evaluate.log"))
    assert len(logs) == 2


def test_a_run_that_fails_does_not_end_the_others(
    sweep: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(sweep / "0_latent_dim=2", sweep / "10_cut_short")
    (sweep / "10_cut_short/checkpoints/best.ckpt").write_bytes(b"cut short")
    calls = []

    def scores(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 1:
            raise ValueError("a bug")
        return likelihood_scores(*args)

    monkeypatch.setattr("vae_lightning.evaluation.run.likelihood_scores", scores)
    outcome = call("ckpt_path=sweep", *QUICK)
    assert outcome.status == 1
    assert "Traceback" in outcome.err
    assert "error: sweep/10_cut_short/checkpoints/best.ckpt is not a checkpoint" in outcome.err
    assert outcome.err.splitlines()[-3:] == [
        "2 of 3 runs have failed:",
        "  sweep/0_latent_dim=2: ValueError: a bug",
        "  sweep/10_cut_short: sweep/10_cut_short/checkpoints/best.ckpt is not a checkpoint, or is "
        "cut short",
    ]
    assert "* best test/nll" in outcome.out
    assert [run for run, measured in evaluations(sweep).items() if measured] == ["1_latent_dim=3"]
    (log,) = sweep.glob("0_latent_dim=2/evaluate/*/evaluate.log")
    assert "ValueError: a bug" in log.read_text()


def test_ctrl_c_says_which_runs_are_left(
    sweep: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any) -> Any:
        if list(sweep.glob("0*/evaluate/*/metrics.json")):
            raise KeyboardInterrupt
        return likelihood_scores(*args)

    monkeypatch.setattr("vae_lightning.evaluation.run.likelihood_scores", interrupted)
    outcome = call("ckpt_path=sweep", *QUICK)
    assert outcome.status == 130
    assert outcome.err == (
        "1 of 2 runs are done. Those left:\n  sweep/1_latent_dim=3\ninterrupted\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["output_dir=new"], "output_dir=new is for a single run: the results of each run of sw"),
        (["hydra.run.dir=new"], "hydra.run.dir=new is for a single run"),
        (["devices=2"], "devices=2 is for a single run"),
        (["-m", "seed=0,1"], "sweep holds 2 runs: leave out -m"),
        (["num_samples=0"], "num_samples=0 is out of range"),
        (["ckpt_path=unfinished"], "unfinished: none of its 1 runs has finished"),
    ],
)
def test_what_does_not_fit_several_runs_is_refused_before_anything_is_written(
    sweep: Path, call: Call, tmp_path: Path, arguments: list[str], message: str
) -> None:
    shutil.copytree(sweep / "0_latent_dim=2/.hydra", tmp_path / "unfinished/0/.hydra")
    outcome = call("ckpt_path=sweep", *QUICK, *arguments)
    assert outcome.status == 1
    assert outcome.err.startswith(f"error: {message}")
    assert len(outcome.err.splitlines()) == 1
    assert not any(evaluations(sweep).values())
    assert not (tmp_path / "new").exists()


def test_python_names_a_single_run(trained: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a run, but holds runs: name one of them"):
        evaluate(trained)
