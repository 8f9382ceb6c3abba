"""`python -m vae_lightning.evaluate` as a user runs it."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conftest import CallCommand, FinishedRun, RunCommand, read_metrics
from vae_lightning import load
from vae_lightning.data.resizing import resize
from vae_lightning.data.sources import Digits
from vae_lightning.metrics import ImageBounds

MODULE = "vae_lightning.evaluate"
QUICK = "num_samples=20"


def evaluate(run_command: RunCommand, run: FinishedRun, *args: str) -> Any:
    return run_command(f"ckpt_path={run.folder}", *args, module=MODULE)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the classifier of the feature space is trained once and kept."""
    return f"{tmp_path_factory.mktemp('data')}"


def evaluated(run_command: RunCommand, run: FinishedRun, folder: Path, *args: str) -> Any:
    """The process and what it wrote into a folder of the test's own."""
    process = evaluate(run_command, run, f"output_dir={folder}", *args)
    assert process.returncode == 0, process.stderr
    return process, read_metrics(folder)


def test_a_run_is_measured_with_its_protocol_scalars_and_pictures(
    run_command: RunCommand, finished_run: FinishedRun, tmp_path: Path, data_dir: str
) -> None:
    folder = tmp_path / "found"
    process, metrics = evaluated(run_command, finished_run, folder, QUICK, f"data.root={data_dir}")
    for name in ("nll", "rate", "active_units", "mutual_information", "mse", "ssim", "recall"):
        assert math.isfinite(metrics[f"test/{name}"])
    assert metrics["test/nll"] < -metrics["test/elbo"]
    assert metrics["test/elbo"] == pytest.approx(-metrics["test/rate"] - metrics["test/distortion"])
    # The same model, other noise: 360 images of which each elbo varies by a few nats.
    assert metrics["test/elbo"] == pytest.approx(finished_run.metrics["test/elbo"], abs=1)
    parts = metrics["test/mutual_information"] + metrics["test/marginal_kl"]
    assert parts == pytest.approx(metrics["test/sampled_rate"], abs=1e-3)
    assert sum(metrics["test/rate_per_dimension"]) == pytest.approx(metrics["test/rate"], abs=1e-3)

    protocol = metrics["protocol"]
    assert (protocol["data"], protocol["split"], protocol["images"]) == ("digits", "test", 360)
    assert (protocol["num_samples"], protocol["seed"]) == (20, 0)
    assert protocol["binarize"] == "none"
    assert "cross-entropy" in protocol["bound"]
    assert protocol["checkpoint"].endswith("best.ckpt")
    assert protocol["versions"]["torch"]
    assert set(protocol["seconds"]) == {"likelihood", "latents", "samples"}

    for name in ("reconstructions", "samples", "worst_explained"):
        assert (folder / "pictures" / f"{name}.png").stat().st_size > 1000
    board = EventAccumulator(str(folder))
    board.Reload()
    assert board.Scalars("test/nll")[0].value == pytest.approx(metrics["test/nll"], rel=1e-6)
    assert "test/worst_explained" in board.Tags()["images"]
    assert "nll, K = 20" in process.stdout
    assert "cross-entropy" in process.stdout


def test_two_evaluations_agree_to_the_last_digit_alone_or_in_two_processes(
    run_command: RunCommand, finished_run: FinishedRun, tmp_path: Path
) -> None:
    options = (QUICK, "num_images=50", "parts=[likelihood,latents]")
    together = ("device=cpu", "devices=2")
    found = []
    for number, extra in enumerate([(), (), together]):
        folder = tmp_path / str(number)
        _, metrics = evaluated(run_command, finished_run, folder, *options, *extra)
        metrics.pop("protocol")
        found.append(metrics)
    assert found[0] == found[1] == found[2]


def test_nll_is_that_of_the_checkpoint_on_the_images_of_the_split(
    run_command: RunCommand, finished_run: FinishedRun, tmp_path: Path
) -> None:
    options = (QUICK, "num_images=10", "parts=[likelihood]")
    _, metrics = evaluated(run_command, finished_run, tmp_path / "found", *options)
    metric = ImageBounds(20, 0)
    images = resize(Digits().load(Path(), train=False)[0], 28)[:10].float() / 255
    metric.update(load(finished_run.folder), images, torch.arange(10))
    expected = metric.compute()[:, 0].mean().item()
    assert metrics["test/nll"] == pytest.approx(expected, abs=1e-4)


def test_training_ends_with_an_evaluation_where_it_is_asked_for(
    run_command: RunCommand, tmp_path: Path, data_dir: str
) -> None:
    cwd = tmp_path / "a folder's name"
    cwd.mkdir()
    process = run_command(
        "data=digits", "callbacks=minimal", "trainer.max_epochs=1", "evaluate=true",
        "data.val_size=1100", "data.eval_batch_size=1000", "nll_samples=30",
        f"paths.data_dir={data_dir}", cwd=cwd,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    (folder,) = (cwd / "outputs" / "train" / "runs").iterdir()
    (evaluation,) = (folder / "evaluate").iterdir()
    metrics = read_metrics(evaluation)
    assert metrics["protocol"]["num_samples"] == 30
    assert metrics["protocol"]["checkpoint"] == read_metrics(folder)["checkpoint"]
    assert "nll, K = 30" in process.stdout


def test_training_ends_with_the_use_of_the_latent_dimensions(finished_run: FinishedRun) -> None:
    metrics = finished_run.metrics
    assert 0 <= metrics["test/active_units"] <= 20
    assert len(metrics["test/rate_per_dimension"]) == 20
    assert sum(metrics["test/rate_per_dimension"]) == pytest.approx(metrics["test/rate"], abs=1e-3)
    assert "active units" in finished_run.process.stdout


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["ckpt_path=null"], "ckpt_path is missing"),
        (["ckpt_path=nowhere"], "nowhere does not exist"),
        ([QUICK.replace("20", "0")], "num_samples=0 is out of range"),
        (["num_samples=many"], "num_samples=many should be a whole number"),
        (["parts=[likelyhood]"], "parts=['likelyhood'] should be a list"),
        (["parts=[]"], "parts is empty"),
        (["split=dev"], "split=dev"),
        (["evaluate.num_samples=3"], "evaluate.num_samples is not a key of the configuration"),
        (["nsamples=3"], "nsamples is not a key of the configuration: did you mean num_samples?"),
        (["devices=0"], "devices=0 is out of range"),
        (["+sede=1"], "sede is not a key of the configuration: did you mean seed?"),
        (["~device"], "device cannot be left out"),
        (["seed=-1"], "seed=-1 is out of range"),
        (["device=gup"], "device=gup is no device: did you mean gpu?"),
    ],
)
def test_an_evaluation_that_does_not_fit_is_refused_in_one_line(
    call_command: CallCommand, finished_run: FinishedRun, tmp_path: Path, args: list[str], line: str
) -> None:
    outcome = call_command(f"ckpt_path={finished_run.folder}", *args, command="evaluate")
    assert outcome.status == 1
    assert outcome.err.startswith("error: ")
    assert line in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_help_answers_without_torch(run_command: RunCommand) -> None:
    process = run_command("--help", module=MODULE)
    assert process.returncode == 0
    assert "num_samples" in process.stdout
