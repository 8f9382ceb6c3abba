import math
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback

from conftest import (
    DIGITS,
    MINIMAL,
    TIMEOUT_SECONDS,
    FinishedRun,
    Outcome,
    RunCommand,
    read_metrics,
)
from vae_lightning.config import compose, to_container
from vae_lightning.errors import CheckpointError, DivergedError
from vae_lightning.training.build import Run, build

# 13 training batches in an epoch, of which the last is short.
BATCHES = 13
SMALL = (
    *DIGITS,
    *MINIMAL,
    "data.size=8",
    "data.batch_size=105",
    "data.binarize=dynamic",
    "model.encoder.hidden=[16]",
    "model.decoder.hidden=[16]",
    "model.latent_dim=4",
    "optimizer.lr=0.01",
    "scheduler=cosine",
    # A warm-up longer than the run, so that each step has a loss of its own.
    "objective/schedule=linear",
    "objective.schedule.steps=100",
    "trainer.max_epochs=4",
)


@pytest.fixture(autouse=True)
def sigint_as_it_was() -> Iterator[None]:
    # Lightning ignores the signal for good once it has been told to stop.
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def checkpoint_of(folder: Path) -> Path:
    return folder / "checkpoints" / "last.ckpt"


def fit(folder: Path, *overrides: str, callbacks: Any = (), resumed: Path | None = None) -> Run:
    """Train in `folder`; an interrupted run comes back as it was when it stopped."""
    run = build(to_container(compose("train", [*SMALL, f"paths.run_dir={folder}", *overrides])))
    # Before the others, as a signal may come before any of them is called.
    run.trainer.callbacks[:0] = callbacks  # type: ignore[attr-defined]
    checkpoint = checkpoint_of(resumed) if resumed else None
    try:
        run.trainer.fit(run.module, run.datamodule, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:
        assert run.trainer.interrupted
    return run


class StopAfterEpoch(Callback):
    """Ends a run after an epoch as early stopping does: everything of the epoch has been done."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        trainer.should_stop = trainer.current_epoch + 1 == self.epochs


class Epochs(Callback):
    """Notes the means of each epoch that comes to its end."""

    def __init__(self) -> None:
        self.means: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        validated = float(trainer.callback_metrics["val/elbo"])
        self.means.append({**pl_module.epoch_means(), "val/elbo": validated})


class InterruptAt(Callback):
    """Presses Ctrl-C while a step is computed; more than once, if asked to."""

    def __init__(self, step: int, times: int = 1) -> None:
        self.step = step
        self.times = times
        self.pressed = False

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        if trainer.global_step == self.step and not self.pressed:
            self.pressed = True  # batches that are accumulated have one step
            for _ in range(self.times):
                # In this thread: one sent to the process may wait in another, and two become one.
                signal.raise_signal(signal.SIGINT)


def assert_identical(got: Any, expected: Any, path: str = "") -> None:
    """Equal to the last bit."""
    assert type(got) is type(expected), path
    if isinstance(got, dict):
        assert got.keys() == expected.keys(), path
        for key in got:
            assert_identical(got[key], expected[key], f"{path}.{key}")
    elif isinstance(got, list | tuple):
        assert len(got) == len(expected), path
        for place, (one, other) in enumerate(zip(got, expected, strict=True)):
            assert_identical(one, other, f"{path}[{place}]")
    elif isinstance(got, torch.Tensor):
        assert torch.equal(got, expected), path
    else:
        assert got == expected, path


STATE = ("state_dict", "optimizer_states", "lr_schedulers", "random_state", "epoch", "global_step")


def assert_same_end(got: Path, expected: Path) -> None:
    """The same weights, optimiser, schedule and random state."""
    contents = [torch.load(checkpoint_of(path), weights_only=True) for path in (got, expected)]
    for key in STATE:
        assert_identical(contents[0][key], contents[1][key], key)


Straight = tuple[Path, list[dict[str, float]]]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Straight:
    """Four epochs without a stop, and their means."""
    folder = tmp_path_factory.mktemp("straight")
    epochs = Epochs()
    run = fit(folder, callbacks=[epochs])
    assert run.trainer.global_step == 4 * BATCHES
    assert len(epochs.means) == 4
    return folder, epochs.means


# -- after an epoch -------------------------------------------------------------------------------


def test_a_run_resumed_after_an_epoch_ends_as_one_that_never_stopped(
    tmp_path: Path, straight: Straight
) -> None:
    epochs = Epochs()
    first = fit(tmp_path / "first", callbacks=[epochs, StopAfterEpoch(2)])
    assert first.trainer.global_step == 2 * BATCHES
    fit(tmp_path / "second", callbacks=[epochs], resumed=tmp_path / "first")
    assert_same_end(tmp_path / "second", straight[0])
    assert epochs.means == straight[1]


def test_a_run_that_is_given_more_epochs_goes_on_as_one_that_had_them_from_the_start(
    tmp_path: Path, straight: Straight
) -> None:
    fit(tmp_path / "first", "trainer.max_epochs=2", "scheduler.T_max=4")
    fit(tmp_path / "second", resumed=tmp_path / "first")
    assert_same_end(tmp_path / "second", straight[0])


class Rates(Callback):
    """Notes the learning rate of each epoch."""

    def __init__(self) -> None:
        self.noted: list[float] = []

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.noted.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.mark.parametrize(
    ("scheduler", "lr", "expected"),
    [
        ("cosine", 0.01, [(1 + math.cos(math.pi * epoch / 6)) / 200 for epoch in range(2, 6)]),
        ("linear", 0.01, [0.01 * (1 - epoch / 6) for epoch in range(2, 6)]),
        ("constant", 0.01, [0.01] * 4),
        ("linear", 0.03, [0.03 * (1 - epoch / 6) for epoch in range(2, 6)]),
    ],
)
def test_the_schedule_of_a_resumed_run_is_the_one_that_it_is_given(
    tmp_path: Path, scheduler: str, lr: float, expected: list[float]
) -> None:
    fit(tmp_path / "first", f"scheduler={scheduler}", "trainer.max_epochs=2")
    rates = Rates()
    longer = [f"scheduler={scheduler}", "trainer.max_epochs=6", f"optimizer.lr={lr}"]
    fit(tmp_path / "second", *longer, callbacks=[rates], resumed=tmp_path / "first")
    assert rates.noted == pytest.approx(expected)


def test_what_was_interrupted_was_not_the_end(tmp_path: Path, straight: Straight) -> None:
    # Guards the comparisons of this file: they would hold of runs that did nothing.
    fit(tmp_path, callbacks=[StopAfterEpoch(2)])
    with pytest.raises(AssertionError):
        assert_same_end(tmp_path, straight[0])


# -- in the middle of one -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "step", [0, 1, BATCHES + 5, 2 * BATCHES - 2, 2 * BATCHES - 1, 4 * BATCHES - 1]
)
def test_a_run_resumed_after_ctrl_c_ends_as_one_that_never_stopped(
    tmp_path: Path, straight: Straight, step: int
) -> None:
    epochs = Epochs()
    end = tmp_path / "first"
    first = fit(end, callbacks=[epochs, InterruptAt(step)])
    if first.trainer.interrupted:
        end = tmp_path / "second"
        fit(end, callbacks=[epochs], resumed=tmp_path / "first")
    assert_same_end(end, straight[0])
    assert epochs.means == straight[1]


def test_ctrl_c_finishes_the_step_saves_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train", "data=digits", "ckpt_path=older.ckpt"])
    fit(tmp_path, callbacks=[InterruptAt(BATCHES + 5)])
    path = checkpoint_of(tmp_path)
    assert torch.load(path, weights_only=True)["global_step"] == BATCHES + 6
    out = capsys.readouterr().out
    assert f"Stopped at step {BATCHES + 6}. To go on:" in out
    command = shlex.split(out.splitlines()[-1])
    assert command[-2:] == ["data=digits", f"ckpt_path={path}"]
    assert "ckpt_path=older.ckpt" not in command


def test_a_second_ctrl_c_stops_at_once_without_saving(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A shell's background job, as tests may be one, is started with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    # In the middle of a step, a checkpoint would hold half of its effects.
    run = fit(tmp_path, callbacks=[InterruptAt(5, times=2)])
    signal.signal(signal.SIGINT, before)
    assert run.trainer.global_step == 5
    assert not checkpoint_of(tmp_path).exists()
    assert "To go on" not in capsys.readouterr().out


def test_ctrl_c_works_again_as_before_when_training_is_over(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    fit(tmp_path, "trainer.max_epochs=1")
    assert signal.getsignal(signal.SIGINT) is before


def test_an_epoch_finished_after_a_resume_tells_the_seconds_that_it_took(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(tmp_path / "first", callbacks=[InterruptAt(BATCHES + 5)])
    capsys.readouterr()
    started = time.perf_counter()
    fit(tmp_path / "second", resumed=tmp_path / "first")
    taken = time.perf_counter() - started
    told = re.findall(r"^epoch .* (\d+\.\d) s\b", capsys.readouterr().out, re.MULTILINE)
    assert len(told) == 3
    assert sum(map(float, told)) <= taken + 0.2


def test_a_user_stops_a_run_and_pastes_the_line_that_goes_on(
    tmp_path: Path, run_command: RunCommand
) -> None:
    epochs = 200
    options = [*SMALL, f"trainer.max_epochs={epochs}"]
    folder = tmp_path / "a=b, it's [1]"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "vae_lightning.train", *options],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("epoch "):
                    process.send_signal(signal.SIGINT)
                    break
            out, err = process.communicate(timeout=TIMEOUT_SECONDS)
        finally:
            process.kill()
    assert (process.returncode, err) == (130, "interrupted\n")
    (said,) = re.findall(r"^Stopped at step (\d+)\. To go on:$", out, re.MULTILINE)
    assert BATCHES <= int(said) < epochs * BATCHES
    command = shlex.split(out.splitlines()[-1])
    assert command[:3] == ["python", "-m", "vae_lightning.train"]

    more = f"trainer.max_epochs={int(said) // BATCHES + 2}"
    resumed = run_command(*command[3:], more, cwd=folder)
    assert resumed.returncode == 0, resumed.stderr
    runs = sorted((folder / "outputs" / "train" / "runs").iterdir())
    metrics = read_metrics(runs[-1])
    assert metrics["epochs"] == int(said) // BATCHES + 2
    lines = [line for line in resumed.stdout.splitlines() if line.startswith("epoch ")]
    assert lines[0].startswith(f"epoch {int(said) // BATCHES + 1}/")


# -- with another optimiser or schedule -----------------------------------------------------------

ADAGRAD = (
    "optimizer._target_=torch.optim.Adagrad", "~optimizer.betas", "~optimizer.fused",
    "~optimizer.weight_decay", "~optimizer.eps",
)  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (["optimizer=sgd"], [], "the checkpoint holds the state of SGD, not of Adam"),
        ([], ["optimizer=sgd"], "the checkpoint holds the state of Adam, not of SGD"),
        # The same names of state with another meaning.
        (["optimizer=adam_normgrad"], [], "holds the state of AdamNormGrad, not of Adam"),
        ([], ADAGRAD, "holds the state of Adam, not of Adagrad"),
        ([], ["+optimizer.amsgrad=true"], "the state in the checkpoint does not fit its options"),
    ],
    ids=["sgd to adam", "adam to sgd", "normgrad to adam", "adam to adagrad", "adam to amsgrad"],
)
def test_another_optimiser_starts_anew_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
    before: list[str], after: list[str], reason: str,
) -> None:  # fmt: skip
    fit(tmp_path / "first", "trainer.max_epochs=1", *before)
    capsys.readouterr()
    run = fit(tmp_path / "second", "trainer.max_epochs=2", *after, resumed=tmp_path / "first")
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.startswith("the optimiser starts anew: ")]
    assert reason in line
    assert run.trainer.global_step == 2 * BATCHES
    state = torch.load(checkpoint_of(tmp_path / "second"), weights_only=True)["optimizer_states"][0]
    (steps,) = {float(entry.get("step", BATCHES)) for entry in state["state"].values()}
    assert steps == BATCHES


def test_an_optimiser_without_a_state_has_none_to_lose(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(tmp_path / "first", "trainer.max_epochs=1", "optimizer=sgd", "optimizer.momentum=0.0")
    fit(tmp_path / "second", "trainer.max_epochs=2", "optimizer=sgd", resumed=tmp_path / "first")
    assert "anew" not in capsys.readouterr().out


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_schedule_by_steps_goes_on_where_the_steps_are(tmp_path: Path, epochs: int) -> None:
    by_step = ["scheduler.interval=step", f"scheduler.T_max={4 * BATCHES}"]
    fit(tmp_path / "whole", *by_step)
    fit(tmp_path / "first", *by_step, callbacks=[StopAfterEpoch(epochs)])
    fit(tmp_path / "second", *by_step, resumed=tmp_path / "first")
    assert_same_end(tmp_path / "second", tmp_path / "whole")


class StepRates(Callback):
    """Notes the learning rate of each step."""

    def __init__(self) -> None:
        self.noted: list[float] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.noted.append(optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize(
    "stop",
    [partial(StopAfterEpoch, 2), partial(InterruptAt, 2 * BATCHES + 4)],
    ids=["after an epoch", "within an epoch"],
)
def test_a_schedule_that_counts_something_else_goes_on_where_the_run_is(
    tmp_path: Path, stop: Callable[[], Callback]
) -> None:
    by_step = ["scheduler.interval=step", f"scheduler.T_max={4 * BATCHES}"]
    first = fit(tmp_path / "first", callbacks=[stop()])
    steps = first.trainer.global_step
    rates = StepRates()
    fit(tmp_path / "second", *by_step, callbacks=[rates], resumed=tmp_path / "first")
    expected = [math.cos(math.pi * step / (4 * BATCHES)) for step in range(steps, 4 * BATCHES)]
    assert rates.noted == pytest.approx([0.005 * (1 + cosine) for cosine in expected], abs=1e-9)
    # And back: two epochs of four are done.
    rates = StepRates()
    fit(tmp_path / "first again", *by_step, callbacks=[stop()])
    fit(tmp_path / "third", callbacks=[rates], resumed=tmp_path / "first again")
    assert rates.noted[0] == pytest.approx(0.005)


@pytest.mark.parametrize("step", [0, 4, BATCHES + 5])
def test_ctrl_c_finishes_a_step_of_accumulated_batches(tmp_path: Path, step: int) -> None:
    accumulated = "+trainer.accumulate_grad_batches=3"
    fit(tmp_path / "whole", accumulated)
    first = fit(tmp_path / "first", accumulated, callbacks=[InterruptAt(step)])
    assert first.trainer.interrupted
    fit(tmp_path / "second", accumulated, resumed=tmp_path / "first")
    assert_same_end(tmp_path / "second", tmp_path / "whole")


def test_averaged_weights_go_on_in_a_resumed_run(tmp_path: Path) -> None:
    averaged = "callbacks=[minimal,averaged_weights]"
    fit(tmp_path / "whole", averaged)
    fit(tmp_path / "first", averaged, callbacks=[InterruptAt(BATCHES + 5)])
    fit(tmp_path / "second", averaged, resumed=tmp_path / "first")
    assert_same_end(tmp_path / "second", tmp_path / "whole")
    ends = [
        torch.load(checkpoint_of(tmp_path / name), weights_only=True)
        for name in ("second", "whole")
    ]
    for key in ("current_model_state", "averaging_state"):
        assert_identical(ends[0][key], ends[1][key], key)


# -- the best checkpoint --------------------------------------------------------------------------


class Spoil(Callback):
    """Makes every epoch a bad one."""

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        for weight in pl_module.model.parameters():
            weight.data.zero_()


def best_of(folder: Path) -> Path:
    return folder / "checkpoints" / "best.ckpt"


def assert_best(run: Run, folder: Path, expected: Run) -> None:
    """The run keeps the other's best, with its score, in a folder of its own."""
    saver: Any = run.trainer.checkpoint_callback
    assert saver.best_model_path == str(best_of(folder))
    assert saver.best_model_score == expected.trainer.checkpoint_callback.best_model_score  # type: ignore[union-attr]


def test_the_best_checkpoint_of_a_resumed_run_is_the_best_of_the_whole_training(
    tmp_path: Path,
) -> None:
    folders = [tmp_path / name for name in ("first", "second", "third")]
    first = fit(folders[0], callbacks=[StopAfterEpoch(2)])
    best = best_of(folders[0]).read_bytes()
    second = fit(folders[1], callbacks=[Spoil(), StopAfterEpoch(3)], resumed=folders[0])
    assert second.trainer.callback_metrics["val/elbo"] < first.trainer.callback_metrics["val/elbo"]
    assert_best(second, folders[1], first)
    assert best_of(folders[1]).read_bytes() == best
    # And so on, when the first folder is there no longer.
    shutil.rmtree(folders[0])
    third = fit(folders[2], callbacks=[Spoil()], resumed=folders[1])
    assert_best(third, folders[2], first)
    assert best_of(folders[2]).read_bytes() == best


def test_the_last_checkpoint_is_of_the_last_epoch_whichever_was_the_best(
    tmp_path: Path, straight: Straight
) -> None:
    # The rate falls in these two epochs.
    highest_rate = ("callbacks.checkpoint.monitor=val/rate", "callbacks.checkpoint.mode=max")
    fit(tmp_path / "first", *highest_rate, callbacks=[StopAfterEpoch(2)])
    epochs = [
        torch.load(path(tmp_path / "first"), weights_only=True)["epoch"]
        for path in (best_of, checkpoint_of)
    ]
    assert epochs == [0, 1]
    fit(tmp_path / "second", resumed=tmp_path / "first")
    assert_same_end(tmp_path / "second", straight[0])


def test_an_epoch_that_is_better_after_a_resume_replaces_the_best_checkpoint(
    tmp_path: Path,
) -> None:
    first = fit(tmp_path / "first", callbacks=[StopAfterEpoch(2)])
    best = best_of(tmp_path / "first").read_bytes()
    second = fit(tmp_path / "second", resumed=tmp_path / "first")
    scores = [run.trainer.checkpoint_callback.best_model_score for run in (first, second)]  # type: ignore[union-attr]
    assert scores[1] > scores[0]
    assert torch.load(best_of(tmp_path / "second"), weights_only=True)["epoch"] == 3
    assert best_of(tmp_path / "first").read_bytes() == best


def test_the_best_checkpoint_is_found_where_the_folder_of_a_run_was_moved(tmp_path: Path) -> None:
    first = fit(tmp_path / "first", callbacks=[StopAfterEpoch(2)])
    (tmp_path / "first").rename(tmp_path / "moved")
    second = fit(tmp_path / "second", callbacks=[Spoil()], resumed=tmp_path / "moved")
    assert_best(second, tmp_path / "second", first)


@pytest.mark.parametrize("harm", ["gone", "cut short", "of other epochs"])
def test_a_best_checkpoint_that_cannot_be_kept_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: str
) -> None:
    fit(tmp_path / "first", callbacks=[StopAfterEpoch(2)])
    best = best_of(tmp_path / "first")
    if harm == "of other epochs":
        fit(tmp_path / "other", "seed=1", callbacks=[StopAfterEpoch(1)])
        best_of(tmp_path / "other").rename(best)
    elif harm == "gone":
        best.unlink()
    else:
        best.write_bytes(best.read_bytes()[:1000])
    capsys.readouterr()
    second = fit(tmp_path / "second", callbacks=[Spoil()], resumed=tmp_path / "first")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {best} ")
    saver: Any = second.trainer.checkpoint_callback
    assert saver.best_model_path == str(best_of(tmp_path / "second"))


def test_a_resumed_run_that_diverges_at_once_names_the_best_checkpoint_of_before(
    tmp_path: Path,
) -> None:
    fit(tmp_path / "first", callbacks=[StopAfterEpoch(2)])
    options = [
        *SMALL,
        f"paths.run_dir={tmp_path / 'second'}",
        f"ckpt_path={checkpoint_of(tmp_path / 'first')}",
        "optimizer.lr=1e30",
    ]
    run = build(to_container(compose("train", options)))
    with pytest.raises(DivergedError) as error:
        run.fit()
    assert f"the last good checkpoint is {best_of(tmp_path / 'second')}" in str(error.value)


def test_a_finished_run_that_is_resumed_tests_its_best_checkpoint(
    call_train: Callable[..., Outcome], tmp_path: Path, finished_run: FinishedRun
) -> None:
    checkpoint = checkpoint_of(finished_run.folder)
    options = ("trainer.max_epochs=2", "data.eval_batch_size=100", f"ckpt_path={checkpoint}")
    outcome = call_train(*DIGITS, *MINIMAL, *options)
    assert outcome.status == 0, outcome.err
    (folder,) = (tmp_path / "outputs" / "train" / "runs").iterdir()
    metrics = read_metrics(folder)
    assert metrics["checkpoint"] == str(best_of(folder))
    assert metrics["test/elbo"] == finished_run.metrics["test/elbo"]


def test_a_resumed_run_tells_which_settings_are_not_those_of_before(
    call_train: Callable[..., Outcome], finished_run: FinishedRun
) -> None:
    checkpoint = checkpoint_of(finished_run.folder)
    same = (*DIGITS, *MINIMAL, "trainer.max_epochs=2", f"ckpt_path={checkpoint}", "test=false")
    (line,) = re.findall("^resumes .*$", call_train(*same).out, re.MULTILINE)
    assert line == f"resumes from {checkpoint}, with the same settings"
    other = ("trainer.max_epochs=3", "optimizer.lr=0.01", "data.binarize=dynamic")
    out = call_train(*same, *other).out
    (line,) = re.findall("^resumes .*$", out, re.MULTILINE)
    before = ("trainer.max_epochs=3 (was 2)", "optimizer.lr=0.01 (was 0.001)")
    for setting in (*before, "data.binarize=dynamic (was none)"):
        assert setting in line
    assert line.count("(was ") == 3


def test_a_folder_is_gone_on_from_where_it_stopped_and_tested_where_it_was_best(
    tmp_path: Path, straight: Straight
) -> None:
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    for name in ("best.ckpt", "last.ckpt"):
        (folder / "checkpoints" / name).write_bytes(checkpoint_of(straight[0]).read_bytes())

    def resumed(*options: str) -> Path:
        settings = (*SMALL, "paths.run_dir=x", f"ckpt_path={folder}", *options)
        run = build(to_container(compose("train", settings)))
        assert run.resumed is not None
        return run.resumed.path

    assert resumed() == folder / "checkpoints" / "last.ckpt"
    assert resumed("train=false") == folder / "checkpoints" / "best.ckpt"
    (folder / "checkpoints" / "last.ckpt").unlink()
    assert resumed() == folder / "checkpoints" / "best.ckpt"


def test_a_test_without_training_tells_which_data_are_not_those_of_before(
    call_train: Callable[..., Outcome], finished_run: FinishedRun
) -> None:
    same = (*DIGITS, *MINIMAL, "train=false", f"ckpt_path={finished_run.folder}")
    size = "data.eval_batch_size=100"
    best = best_of(finished_run.folder)
    assert f"tests {best}, with the same data\n" in call_train(*same, size).out
    out = call_train(*same, size, "data.binarize=fixed", "optimizer.lr=0.5").out
    assert f"tests {best}, with data.binarize=fixed (was none)\n" in out


# -- what is refused ------------------------------------------------------------------------------


def test_a_folder_that_holds_a_run_is_not_written_over(
    call_train: Callable[..., Outcome], finished_run: FinishedRun
) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished_run.folder.rglob("*")}
    outcome = call_train(*DIGITS, *MINIMAL, f"hydra.run.dir={finished_run.folder}")
    assert outcome.status == 1
    (line,) = outcome.err.splitlines()
    assert "already holds a run, which this one would overwrite" in line
    assert {path: path.stat().st_mtime_ns for path in finished_run.folder.rglob("*")} == before


def test_an_evaluation_without_a_checkpoint_is_refused_before_training(
    call_train: Callable[..., Outcome],
) -> None:
    outcome = call_train(*DIGITS, "callbacks=progress_bar", "evaluate=true")
    assert outcome.status == 1
    assert outcome.err.startswith("error: evaluate=true needs a checkpoint")


def test_a_run_that_was_never_validated_is_tested_as_it_ended(
    call_train: Callable[..., Outcome], tmp_path: Path
) -> None:
    outcome = call_train(
        *DIGITS, "callbacks=checkpoint", "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=5"
    )
    assert outcome.status == 0, outcome.err
    (folder,) = (tmp_path / "outputs" / "train" / "runs").iterdir()
    assert read_metrics(folder)["checkpoint"] == str(checkpoint_of(folder))


@pytest.mark.parametrize("override", ["model.latent_dim=5", "model/likelihood=normal"])
def test_a_checkpoint_of_another_model_is_refused_before_training(
    straight: Straight, override: str
) -> None:
    options = [*SMALL, "paths.run_dir=unused", f"ckpt_path={checkpoint_of(straight[0])}", override]
    with pytest.raises(CheckpointError, match=r"model\.(latent_dim=4, not 5|likelihood)"):
        build(to_container(compose("train", options)))


def test_a_run_that_had_more_epochs_than_are_asked_for_is_refused_before_training(
    straight: Straight,
) -> None:
    path = checkpoint_of(straight[0])
    options = [*SMALL, "paths.run_dir=unused", f"ckpt_path={path}", "trainer.max_epochs=2"]
    with pytest.raises(CheckpointError, match=r"trainer\.max_epochs=2 is too small") as error:
        build(to_container(compose("train", options)))
    assert str(path) in str(error.value)
    build(to_container(compose("train", [*options, "train=false"])))
