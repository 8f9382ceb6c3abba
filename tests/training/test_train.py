import math
import re
from collections.abc import Callable
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback

from conftest import DIGITS, MINIMAL, FinishedRun, Outcome, RunCommand, read_metrics
from vae_lightning import load
from vae_lightning.checkpoint import Checkpoint
from vae_lightning.config import compose, to_container
from vae_lightning.data.resizing import resize
from vae_lightning.data.sources import Digits
from vae_lightning.errors import ConfigError
from vae_lightning.models import VAE
from vae_lightning.train import train
from vae_lightning.training.build import Run, build

CallTrain = Callable[..., Outcome]
TIMES = {"seconds", "images_per_second", "checkpoint"}


def only_run(cwd: Path, task: str = "train") -> Path:
    (folder,) = (cwd / "outputs" / task / "runs").iterdir()
    return folder


def results(folder: Path) -> dict[str, Any]:
    """The metrics that a repetition must give again."""
    return {key: value for key, value in read_metrics(folder).items() if key not in TIMES}


def assert_measured_on_every_test_image(metrics: dict[str, Any], checkpoint: Path) -> None:
    """Compare the test metrics of a run on the digits with a loop over all 360 images."""
    model = load(checkpoint)
    images, _ = Digits().load(Path("nowhere"), train=False)
    x = resize(images, 28).float() / 255
    torch.manual_seed(0)
    assert isinstance(model, VAE)
    with torch.no_grad():
        trace = model(x, 30)
        at_mean = -model.decode(model.encode(x).mean).log_prob(x).mean()
    # The rate has a closed form, so neither an image nor its weight may be missing or too much.
    assert metrics["test/rate"] == pytest.approx(float(trace.rate.mean()), rel=1e-5)
    # The distortion is that of one sample for each image, within what sampling explains.
    spread = float(trace.distortion.mean(1).std())
    expected = float(trace.distortion.mean())
    assert abs(metrics["test/distortion"] - expected) < 5 * spread
    assert abs(float(at_mean) - expected) > 10 * spread, "samples and means are too alike to tell"


# -- a run and what it leaves ---------------------------------------------------------------------


def test_a_run_reports_its_metrics_and_what_they_were_measured_on(
    finished_run: FinishedRun,
) -> None:
    metrics = finished_run.metrics
    for stage in ("train", "val", "test"):
        for name in ("elbo", "rate", "distortion", "loss"):
            assert math.isfinite(metrics[f"{stage}/{name}"])
    assert metrics["data"] == "digits"
    assert metrics["seed"] == 42
    assert metrics["epochs"] == 2
    assert metrics["binarize"] == "none"
    assert "cross-entropy" in metrics["bound"]
    images = 2 * (1437 - 137)
    assert metrics["images_per_second"] == pytest.approx(images / metrics["seconds"])
    assert finished_run.folder.name.endswith("_digits")


@pytest.mark.parametrize("stage", ["train", "val", "test"])
def test_the_elbo_is_minus_the_sum_of_rate_and_distortion(
    finished_run: FinishedRun, stage: str
) -> None:
    metrics = finished_run.metrics
    elbo = metrics[f"{stage}/elbo"]
    assert elbo == pytest.approx(-metrics[f"{stage}/rate"] - metrics[f"{stage}/distortion"])
    assert metrics[f"{stage}/loss"] == pytest.approx(-elbo)
    assert metrics[f"{stage}/rate"] > 0


def test_training_raises_the_elbo_far_above_that_of_an_untrained_model(
    finished_run: FinishedRun,
) -> None:
    # Without training, each of 784 pixels costs about log 2.
    assert finished_run.metrics["test/elbo"] > -0.75 * 784 * math.log(2)


def test_test_metrics_are_those_of_the_best_checkpoint_on_every_test_image(
    finished_run: FinishedRun,
) -> None:
    checkpoint = finished_run.folder / "checkpoints" / "best.ckpt"
    assert finished_run.metrics["checkpoint"] == str(checkpoint)
    assert_measured_on_every_test_image(finished_run.metrics, checkpoint)


class Spoil(Callback):
    """Worsens the weights before the last epoch, by a factor that leaves them finite."""

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 2:
            with torch.no_grad():
                for weight in pl_module.model.parameters():
                    weight.mul_(4)


def spoilt_run(folder: Path, *overrides: str) -> Run:
    settings = [*DIGITS, *MINIMAL, "trainer.max_epochs=3", *overrides]
    run = build(to_container(compose("train", [*settings, f"paths.run_dir={folder}"])))
    run.trainer.callbacks[:0] = [Spoil()]  # type: ignore[attr-defined]
    return run


def test_the_best_weights_are_tested_and_not_the_last(tmp_path: Path) -> None:
    run = spoilt_run(tmp_path)
    score = train(run)
    best = tmp_path / "checkpoints" / "best.ckpt"
    assert Checkpoint(best).epoch == 1
    metrics = read_metrics(tmp_path)
    assert_measured_on_every_test_image(metrics, best)
    # A sweep is told what the weights that are kept reach, and not those of the last epoch.
    assert run.trainer.checkpoint_callback.best_model_score == score  # type: ignore[union-attr]
    assert score > metrics["val/elbo"] + 1


@pytest.mark.parametrize(
    ("overrides", "epoch"),
    [
        (["callbacks.checkpoint.monitor=null"], 2),
        (["callbacks.checkpoint.monitor=val/loss", "callbacks.checkpoint.mode=min"], 1),
        (["callbacks.checkpoint.monitor=train/loss", "callbacks.checkpoint.mode=min"], 1),
    ],
)
def test_a_sweep_is_told_the_elbo_of_validation_whatever_is_monitored(
    tmp_path: Path, overrides: list[str], epoch: int
) -> None:
    class Note(Callback):
        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            elbos.append(float(trainer.callback_metrics["val/elbo"]))

    elbos: list[float] = []
    run = spoilt_run(tmp_path, "test=false", *overrides)
    run.trainer.callbacks[:0] = [Note()]  # type: ignore[attr-defined]
    score = train(run)
    assert Checkpoint(tmp_path / "checkpoints" / "best.ckpt").epoch == epoch
    assert score == elbos[epoch] != elbos[3 - epoch]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["callbacks.checkpoint=null"], True),
        (["+trainer.limit_val_batches=0", "callbacks.checkpoint.monitor=null"], False),
    ],
)
def test_a_sweep_is_told_nothing_only_without_validation(
    tmp_path: Path, overrides: list[str], told: bool
) -> None:
    run = spoilt_run(tmp_path, "test=false", *overrides)
    score = train(run)
    assert score == (read_metrics(tmp_path)["val/elbo"] if told else None)


def test_a_run_leaves_checkpoints_its_configuration_curves_and_pictures(
    finished_run: FinishedRun,
) -> None:
    from PIL import Image
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    folder = finished_run.folder
    for name in ("checkpoints/best.ckpt", "checkpoints/last.ckpt", ".hydra/config.yaml"):
        assert (folder / name).is_file()

    scalars: dict[str, list[Any]] = {}
    shown: set[str] = set()
    images: dict[str, list[Any]] = {}
    summarised: set[str] = set()
    for path in (folder / "tensorboard").rglob("events.out.tfevents.*"):
        events = EventAccumulator(str(path)).Reload()
        shown |= set(events.Tags()["images"])
        for tag in events.Tags()["images"]:
            images.setdefault(tag, []).extend(events.Images(tag))
        if "_hparams_/experiment" in events.summary_metadata:
            content = events.summary_metadata["_hparams_/experiment"].plugin_data.content
            experiment = HParamsPluginData.FromString(content).experiment
            summarised |= {info.name.tag for info in experiment.metric_infos}
        for tag in events.Tags()["scalars"]:
            scalars.setdefault(tag, []).extend(events.Scalars(tag))
    # One point for each epoch, where its pictures are, and one for the test; none is repeated.
    for name in ("elbo", "rate", "distortion", "loss"):
        for stage, steps in (("train", [11, 22]), ("val", [11, 22]), ("test", [22])):
            assert [point.step for point in scalars[f"{stage}/{name}"]] == steps
    assert finished_run.metrics["val/elbo"] == pytest.approx(scalars["val/elbo"][-1].value)
    assert {image.step for tag in images for image in images[tag]} == {11, 22}
    assert [image.step for image in images["reconstructions"]] == [11, 22]
    # HPARAMS shows the scalars that are there, and the one of an evaluation.
    assert summarised >= {"val/elbo", "test/elbo", "test/nll"}
    assert summarised - {"test/nll"} <= scalars.keys()
    assert {"train/elbo", "train/elbo_step", "test/elbo"} <= scalars.keys()

    pictures = sorted((folder / "pictures").rglob("*.png"))
    drawn = {path.parent.name for path in pictures}
    assert {"curves", "reconstructions", "samples", "traversals"} <= drawn
    assert {"reconstructions", "test/reconstructions"} <= shown
    for path in pictures:
        with Image.open(path) as picture:
            assert picture.getextrema() != ((0, 0),) * 3


def test_a_run_writes_below_the_current_folder_and_nowhere_else(
    finished_run: FinishedRun,
) -> None:
    assert [path.name for path in finished_run.cwd.iterdir()] == ["outputs"]
    assert "Traceback" not in finished_run.process.stderr
    assert (
        f"run         outputs/train/runs/{finished_run.folder.name}" in finished_run.process.stdout
    )


# -- the same again -------------------------------------------------------------------------------


def test_a_seed_decides_the_result_to_the_last_digit(call_train: CallTrain, tmp_path: Path) -> None:
    found = []
    for number, seed in enumerate((0, 0, 1)):
        folder = tmp_path / f"run{number}"
        options = (f"seed={seed}", f"hydra.run.dir={folder}", "data.binarize=dynamic")
        outcome = call_train(*DIGITS, *MINIMAL, "trainer.max_epochs=1", *options)
        assert outcome.status == 0, outcome.err
        found.append(results(folder))
    assert found[0] == found[1]
    for tag in ("train/elbo", "test/elbo"):
        assert found[0][tag] != found[2][tag]


def test_a_callback_or_a_logger_that_is_null_is_done_without(tmp_path: Path) -> None:
    without = [f"callbacks.{name}=null" for name in ("pictures", "progress_bar", "checkpoint")]
    overrides = [*DIGITS, *without, "logger=[tensorboard,csv]", "logger.csv=null"]
    config = to_container(compose("train", [*overrides, f"paths.run_dir={tmp_path}"]))
    trainer = build(config).trainer
    names = [type(part).__name__ for part in trainer.callbacks]  # type: ignore[attr-defined]
    # Lightning puts no bar and no checkpoint of its own there either.
    assert not [n for n in names if n == "Pictures" or "ProgressBar" in n or "Checkpoint" in n]
    assert [type(part).__name__ for part in trainer.loggers] == ["TensorBoardLogger"]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["callbacks=early_stopping"], "early_stopping"),
        # An experiment that tunes the checkpoint callback does not choose it.
        (["callbacks=averaged_weights", "experiment=beta_vae"], "averaged_weights"),
        (["callbacks=[early_stopping,averaged_weights]"], "early_stopping,averaged_weights"),
    ],
)
def test_callbacks_that_replace_the_default_ones_are_refused_in_one_line(
    overrides: list[str], expected: str
) -> None:
    config = to_container(compose("train", [*DIGITS, *overrides, "paths.run_dir=unused"]))
    with pytest.raises(ConfigError) as error:
        build(config)
    first = expected.split(",")[0]
    assert str(error.value) == (
        f"callbacks={first} replaces the default callbacks: "
        f"write callbacks=[default,{expected}] to add to them"
    )


def test_early_stopping_without_checkpoints_can_be_chosen_on_purpose(tmp_path: Path) -> None:
    chosen = ["callbacks=[minimal,early_stopping]", "callbacks.checkpoint=null", "logger=none"]
    build(to_container(compose("train", [*DIGITS, *chosen, f"paths.run_dir={tmp_path}"])))


@pytest.mark.parametrize("command", ["train", "benchmark"])
def test_building_a_run_leaves_its_configuration_as_it_was(command: str) -> None:
    prepare = import_module(f"vae_lightning.{command}").prepare
    # A section without a target, and a callback and a logger that are left out.
    options = ["experiment=beta_vae", "logger=[tensorboard,csv]", "logger.csv=null"]
    data = ["data=mnist"] if command == "benchmark" else ["data=digits"]
    options += [
        *data,
        "callbacks=minimal",
        "callbacks.progress_bar=null",
        "+callbacks.early_stopping.patience=3",
    ]
    config = to_container(compose(command, [*options, "trainer=cpu", "paths.run_dir=unused"]))
    before = deepcopy(config)
    prepare(config)
    assert config == before


@pytest.mark.parametrize("command", ["evaluate", "generate", "detect", "export"])
def test_preparing_a_command_leaves_its_configuration_as_it_was(
    command: str, finished_run: FinishedRun, tmp_path: Path
) -> None:
    options = [f"ckpt_path={finished_run.folder}", f"paths.run_dir={tmp_path / 'new'}"]
    config = to_container(compose(command, options))
    before = deepcopy(config)
    import_module(f"vae_lightning.{command}").prepare(config)
    assert config == before


def test_seed_zero_makes_weights_of_its_own(tmp_path: Path) -> None:
    def weights(seed: int) -> torch.Tensor:
        options = [*DIGITS, *MINIMAL, f"paths.run_dir={tmp_path}", f"seed={seed}"]
        run = build(to_container(compose("train", options)))
        return torch.cat([part.flatten() for part in run.module.model.parameters()])

    zero, one, again, default = (weights(seed) for seed in (0, 1, 0, 42))
    assert torch.equal(zero, again)
    for other in (one, default):
        assert not torch.equal(zero, other)


def test_a_sweep_gives_each_job_a_folder_and_the_result_that_it_has_alone(
    run_command: RunCommand, tmp_path: Path
) -> None:
    options = (*DIGITS, *MINIMAL, "trainer.max_epochs=1")
    process = run_command(*options, "-m", "model.latent_dim=2,3", "seed=0,1")
    assert process.returncode == 0, process.stderr
    lines = [line for line in process.stdout.splitlines() if line.startswith("job ")]
    assert lines[0] == "job 1 of 4: latent_dim=2 seed=0"
    assert re.fullmatch(r"job 4 of 4: latent_dim=3 seed=1 · \d+:\d\d left", lines[3])
    (sweep,) = (tmp_path / "outputs" / "train" / "multiruns").iterdir()
    jobs = sorted(path for path in sweep.iterdir() if path.is_dir())
    assert [path.name for path in jobs] == [
        "0_latent_dim=2_seed=0", "1_latent_dim=2_seed=1",
        "2_latent_dim=3_seed=0", "3_latent_dim=3_seed=1",
    ]  # fmt: skip
    found = [results(path) for path in jobs]
    assert [job["seed"] for job in found] == [0, 1, 0, 1]
    assert len({job["test/elbo"] for job in found}) == 4

    # The third job ran after two others in one process; in one of its own it is the same.
    process = run_command(*options, "model.latent_dim=3", "seed=0")
    assert process.returncode == 0, process.stderr
    assert results(only_run(tmp_path)) == found[2]


# -- data that cannot be had ----------------------------------------------------------------------


def test_the_digits_replace_missing_mnist_with_one_warning_and_under_their_own_name(
    call_train: CallTrain, tmp_path: Path
) -> None:
    process = call_train("data=mnist_or_digits", "trainer=cpu", "trainer.max_epochs=1", *MINIMAL)
    assert process.status == 0, process.err
    warnings = [line for line in process.err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert "data=digits instead of mnist" in warnings[0]
    folder = only_run(tmp_path)
    assert folder.name.endswith("_digits")
    assert read_metrics(folder)["data"] == "digits"
    assert "scikit-learn digits" in process.out


def test_missing_mnist_stops_the_run_with_one_line_and_both_ways_out(
    call_train: CallTrain,
) -> None:
    process = call_train("data=mnist", "trainer=cpu", *MINIMAL)
    assert process.status == 1
    (line,) = process.err.splitlines()
    assert line.startswith("error: MNIST is not in ")
    assert "data.root" in line
    assert "data=digits" in line


# -- ways to run ----------------------------------------------------------------------------------


def test_one_batch_of_everything_runs_and_keeps_nothing(
    call_train: CallTrain, tmp_path: Path
) -> None:
    outcome = call_train(*DIGITS, "debug=fdr")
    assert outcome.status == 0, outcome.err
    assert "epoch 1/1" in outcome.out
    assert "nothing is kept" in outcome.out
    assert "test elbo" not in outcome.out
    folder = only_run(tmp_path, "debug")
    assert {path.name for path in folder.iterdir()} == {".hydra", "train.log"}


def test_a_run_on_a_small_part_of_the_data_goes_through(
    call_train: CallTrain, tmp_path: Path
) -> None:
    outcome = call_train(*DIGITS, *MINIMAL, "debug=limit")
    assert outcome.status == 0, outcome.err
    metrics = read_metrics(only_run(tmp_path, "debug"))
    assert metrics["epochs"] == 3
    assert metrics["images_per_second"] * metrics["seconds"] < 3 * 1300
    assert math.isfinite(metrics["test/elbo"])
    assert metrics["limit_test_batches"] == 1
    assert "of a part of the images alone: trainer.limit_train_batches=10" in outcome.out


class SeenLabels(Callback):
    def __init__(self) -> None:
        self.epochs: list[list[list[int]]] = []

    def on_train_epoch_start(self, *args: Any) -> None:
        self.epochs.append([])

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, index: int) -> None:
        self.epochs[-1].append(batch[1].tolist())


@pytest.mark.parametrize(
    ("options", "batches", "same"), [(["debug=overfit"], 3, True), ([], 11, False)]
)
def test_overfitting_sees_the_same_three_batches_in_every_epoch(
    tmp_path: Path, options: list[str], batches: int, same: bool
) -> None:
    fixed = [*DIGITS, *MINIMAL, f"paths.run_dir={tmp_path}", "trainer.max_epochs=2"]
    run = build(to_container(compose("train", [*fixed, *options])))
    seen = SeenLabels()
    run.trainer.callbacks.append(seen)  # type: ignore[attr-defined]
    run.trainer.fit(run.module, run.datamodule)
    assert [len(epoch) for epoch in seen.epochs] == [batches] * 2
    assert (seen.epochs[0] == seen.epochs[1]) is same


def test_a_model_can_learn_three_batches(call_train: CallTrain, tmp_path: Path) -> None:
    outcome = call_train(*DIGITS, *MINIMAL, "debug=overfit")
    assert outcome.status == 0, outcome.err
    metrics = read_metrics(only_run(tmp_path, "debug"))
    assert metrics["images_per_second"] * metrics["seconds"] == pytest.approx(50 * 3 * 128)
    assert metrics["train/elbo"] > -340


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_a_model_is_tested_in_the_precision_that_it_was_trained_in(
    call_train: CallTrain, tmp_path: Path, precision: str
) -> None:
    options = (f"trainer.precision={precision}", "trainer.max_epochs=1")
    outcome = call_train(*DIGITS, *MINIMAL, *options)
    assert (outcome.status, outcome.err) == (0, "")
    metrics = read_metrics(only_run(tmp_path))
    assert metrics["precision"] == precision
    for stage in ("train", "val", "test"):
        sum_of_parts = -metrics[f"{stage}/rate"] - metrics[f"{stage}/distortion"]
        assert metrics[f"{stage}/elbo"] == pytest.approx(sum_of_parts, rel=1e-6)
    assert metrics["test/active_units"] > 0


def test_a_profiled_run_prints_where_its_time_went_once(call_train: CallTrain) -> None:
    outcome = call_train(*DIGITS, *MINIMAL, "debug=profiler")
    assert (outcome.status, outcome.err) == (0, "")
    (line,) = re.findall(r"run_training_epoch .*", outcome.out)
    assert float(line.split()[-1]) > 0


def test_no_epochs_are_refused(call_train: CallTrain, tmp_path: Path) -> None:
    outcome = call_train(*DIGITS, *MINIMAL, "trainer.max_epochs=0")
    assert outcome.status == 1
    assert outcome.err.startswith("error: trainer.max_epochs=0 trains nothing")
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_training_step_is_no_crash(call_train: CallTrain, tmp_path: Path) -> None:
    outcome = call_train(*DIGITS, *MINIMAL, "+trainer.limit_train_batches=0")
    assert "Traceback" not in outcome.err
    if outcome.status:
        assert outcome.err.startswith("error: ")
    else:
        assert math.isfinite(read_metrics(only_run(tmp_path))["test/elbo"])


def test_a_checkpoint_can_be_tested_without_training(
    call_train: CallTrain, tmp_path: Path, finished_run: FinishedRun
) -> None:
    options = ("train=false", f"ckpt_path={finished_run.folder}", "data.eval_batch_size=100")
    outcome = call_train(*DIGITS, *MINIMAL, *options)
    assert outcome.status == 0, outcome.err
    metrics = read_metrics(only_run(tmp_path))
    assert metrics["test/elbo"] == finished_run.metrics["test/elbo"]
    assert "train/elbo" not in metrics


def test_the_second_seed_document_s_experiment_runs_on_the_real_mnist(
    call_train: CallTrain, tmp_path: Path, mnist_root: Path
) -> None:
    limits = ("train", "val", "test")
    outcome = call_train(
        "experiment=seed_latent20",
        f"data.root={mnist_root}",
        "trainer=cpu",
        *MINIMAL,
        "trainer.max_epochs=1",
        *(f"+trainer.limit_{stage}_batches=2" for stage in limits),
    )
    assert outcome.status == 0, outcome.err
    assert "60,000 training, 10,000 validation (test), 10,000 test" in outcome.out
    folder = only_run(tmp_path, "seed_latent20")
    assert folder.name.endswith("_mnist")
    metrics = read_metrics(folder)
    assert metrics["data"] == "mnist"
    # Both look at the same two batches of the test split, with the same noise and weights.
    assert metrics["val/elbo"] == metrics["test/elbo"]
