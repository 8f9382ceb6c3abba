"""`python -m vae_lightning.evaluate` as a user runs it."""

import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conftest import MINIMAL, CallCommand, FinishedRun, RunCommand, read_metrics
from vae_lightning import load
from vae_lightning.data.resizing import resize
from vae_lightning.data.sources import Digits
from vae_lightning.evaluation.likelihood import likelihood_scores
from vae_lightning.evaluation.run import images_tested
from vae_lightning.metrics import ImageBounds, features

QUICK = "num_samples=20"


@pytest.fixture
def quick_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classifier of the feature space is trained for a moment only."""
    monkeypatch.setattr(features, "STEPS", 50)


def evaluated(
    call_command: CallCommand, run: FinishedRun, folder: Path, *args: str
) -> tuple[str, dict[str, Any]]:
    """What an evaluation printed, and what it wrote into a folder of the test's own."""
    outcome = call_command(
        f"ckpt_path={run.folder}", f"output_dir={folder}", *args, command="evaluate"
    )
    assert outcome.status == 0, outcome.err
    return outcome.out, read_metrics(folder)


def test_a_run_is_measured_with_its_protocol_scalars_and_pictures(
    call_command: CallCommand, finished_run: FinishedRun, tmp_path: Path, quick_classifier: None
) -> None:
    folder = tmp_path / "found"
    printed, metrics = evaluated(call_command, finished_run, folder, QUICK)
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
    board = EventAccumulator(str(folder / "tensorboard"))
    board.Reload()
    assert board.Scalars("test/nll")[0].value == pytest.approx(metrics["test/nll"], rel=1e-6)
    assert "evaluate/test/worst_explained" in board.Tags()["images"]
    assert "nll, K = 20" in printed
    assert "over 360 images" in " ".join(printed.split())
    assert "mirrored borders" in " ".join(printed.split())
    assert "mirrored borders" in protocol["ssim"]
    assert "cross-entropy" in printed


def test_two_evaluations_agree_to_the_last_digit_alone_or_in_two_processes(
    run_command: RunCommand, call_command: CallCommand, finished_run: FinishedRun, tmp_path: Path
) -> None:
    options = (QUICK, "num_images=50", "parts=[likelihood,latents]", "device=cpu")
    found = [
        evaluated(call_command, finished_run, tmp_path / name, *options)[1] for name in ("a", "b")
    ]
    process = run_command(
        f"ckpt_path={finished_run.folder}", f"output_dir={tmp_path / 'c'}", *options, "devices=2",
        module="vae_lightning.evaluate",
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("of the test split") == 1
    found.append(read_metrics(tmp_path / "c"))
    for metrics in found:
        metrics.pop("protocol")
    assert found[0] == found[1] == found[2]


def test_all_noise_of_an_evaluation_is_that_of_its_seed(
    call_command: CallCommand, finished_run: FinishedRun, tmp_path: Path
) -> None:
    options = (QUICK, "num_images=20", "parts=[likelihood,latents]", "device=cpu")
    first, other = (
        evaluated(call_command, finished_run, tmp_path / f"{seed}", *options, f"seed={seed}")[1]
        for seed in (0, 1)
    )
    for name in ("nll", "elbo", "sampled_rate", "marginal_kl"):
        assert first[f"test/{name}"] != other[f"test/{name}"]


def test_nll_is_that_of_the_checkpoint_on_the_images_of_the_split(
    call_command: CallCommand, finished_run: FinishedRun, tmp_path: Path
) -> None:
    options = (QUICK, "num_images=10", "parts=[likelihood]")
    _, metrics = evaluated(call_command, finished_run, tmp_path / "found", *options)
    metric = ImageBounds(20, 0)
    images = resize(Digits().load(Path(), train=False)[0], 28)[:10].float() / 255
    metric.update(load(finished_run.folder), images, torch.arange(10))
    expected = metric.compute()[:, 0].mean().item()
    assert metrics["test/nll"] == pytest.approx(expected, abs=1e-4)


def test_training_ends_with_an_evaluation_with_evaluate_true(
    call_command: CallCommand,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    quick_classifier: None,
) -> None:
    cwd = tmp_path / "a folder's name"
    cwd.mkdir()
    monkeypatch.chdir(cwd)
    outcome = call_command(
        "data=digits", "callbacks=minimal", "trainer.max_epochs=1", "evaluate=true",
        "data.val_size=1100", "data.eval_batch_size=1000", "nll_samples=30", "trainer=cpu",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    (folder,) = (cwd / "outputs" / "train" / "runs").iterdir()
    (evaluation,) = (folder / "evaluate").iterdir()
    metrics = read_metrics(evaluation)
    assert metrics["protocol"]["num_samples"] == 30
    assert metrics["protocol"]["checkpoint"] == read_metrics(folder)["checkpoint"]
    assert "nll, K = 30" in outcome.out

    def shown() -> EventAccumulator:
        return EventAccumulator(str(folder / "tensorboard"), {"scalars": 0}).Reload()

    # TensorBoard shows them with the run, and what training has logged is not repeated.
    assert [point.value for point in shown().Scalars("test/nll")] == [
        pytest.approx(metrics["test/nll"], rel=1e-6)
    ]
    assert len(shown().Scalars("test/elbo")) == 1
    assert "evaluate/test/samples" in shown().Tags()["images"]

    for options, count in ((["num_images=20"], 1), ([], 2)):
        outcome = call_command(
            f'ckpt_path="{folder}"', "parts=[likelihood]", "num_samples=5", *options,
            command="evaluate",
        )  # fmt: skip
        assert outcome.status == 0, outcome.err
        # One of a part of the images is not that of the run.
        assert len(shown().Scalars("test/nll")) == count


def test_a_run_limited_to_some_test_batches_is_evaluated_on_these_images(
    call_command: CallCommand, tmp_path: Path, quick_classifier: None
) -> None:
    options = ("data=digits", "data.eval_batch_size=6", "nll_samples=2", "trainer=cpu", "seed=1")
    outcome = call_command(*options, *MINIMAL, "debug=limit", "evaluate=true")
    assert outcome.status == 0, outcome.err
    (folder,) = (tmp_path / "outputs" / "debug" / "runs").iterdir()
    (evaluation,) = (folder / "evaluate").iterdir()
    metrics = read_metrics(evaluation)
    assert (metrics["protocol"]["images"], metrics["protocol"]["images_in_split"]) == (6, 360)
    assert "6 of 360 images of the test split" in outcome.out
    assert "over 6 images" in outcome.out
    # One draw per image and its mean over two: the images are those of the run's test.
    tested = read_metrics(folder)
    assert metrics["test/elbo"] == pytest.approx(tested["test/elbo"], abs=15)
    per_dimension = "test/rate_per_dimension"
    assert metrics[per_dimension] == pytest.approx(tested[per_dimension], rel=1e-4)


def test_images_that_are_tested_are_counted_as_lightning_does() -> None:
    assert images_tested(None, 360, 100, 1) is None
    assert images_tested(1.0, 360, 100, 1) is None
    assert images_tested(4, 360, 100, 1) is None
    assert images_tested(3, 360, 100, 1) == 300
    assert images_tested(2, 360, 100, 2) is None  # 180 for each process
    assert images_tested(1, 360, 100, 2) == 200
    assert images_tested(0.5, 360, 100, 1) == 200
    assert images_tested(1, 360, 1, 1) == 4  # what precision and recall need


def test_an_evaluation_without_images_is_refused_before_training(
    call_command: CallCommand, tmp_path: Path
) -> None:
    limit = "+trainer.limit_test_batches=0"
    outcome = call_command("data=digits", "trainer=cpu", "evaluate=true", "test=false", limit)
    assert outcome.status == 1
    assert "limit_test_batches=0 leaves none" in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_one_image_has_an_nll_without_a_standard_error() -> None:
    bounds = torch.arange(8.0).reshape(2, 4)
    assert likelihood_scores(bounds, 1)["nll_standard_error"] == pytest.approx(2.0)
    assert "nll_standard_error" not in likelihood_scores(bounds[:1], 1)


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
        (["devices=5", "num_images=4"], "devices=5 would share 4 images: use fewer"),
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


def test_more_processes_than_cores_are_refused(
    call_command: CallCommand, finished_run: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    # They would wait for each other without end.
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    options = ["device=cpu", "devices=99"]
    outcome = call_command(f"ckpt_path={finished_run.folder}", *options, command="evaluate")
    assert outcome.status == 1
    assert outcome.err == (
        "error: devices=99 would start as many processes, and this machine has 4 cores: at most 4\n"
    )


def test_help_answers_without_torch(run_command: RunCommand) -> None:
    process = run_command("--help", module="vae_lightning.evaluate")
    assert process.returncode == 0
    assert "num_samples" in process.stdout
