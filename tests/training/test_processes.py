"""Runs of two processes on the CPU, started by Lightning and by torchrun."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import DIGITS, MINIMAL, read_metrics, run_python
from vae_lightning.config import compose, to_container
from vae_lightning.training.build import build
from vae_lightning.training.run import train

TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
SMALL = ("data.size=8", "model.encoder.hidden=[16]", "model.decoder.hidden=[16]")
# 1,027 training images in 9 steps, of which the last has 2 for one process and 1 for the other.
# 3 batches of validation and of the test: the second process has no third one.
UNEVEN = ("data.val_size=410", "data.eval_batch_size=150", *SMALL)
# No noise, which each process would draw for itself.
NO_NOISE = (
    "objective=autoencoder",
    "model/posterior=deterministic",
    "objective.decoder_penalty=none",
)
CURVE = ("callbacks=minimal", "logger=csv")
STEPS = 9


def options(batch_size: int, epochs: int) -> list[str]:
    return ["data=digits", f"data.batch_size={batch_size}", f"trainer.max_epochs={epochs}", *UNEVEN]


def train_alone(folder: Path, *overrides: str) -> Path:
    """Train in this process."""
    folder.mkdir(parents=True)
    overrides = (*DIGITS, *overrides, f"paths.run_dir={folder}")
    train(build(to_container(compose("train", list(overrides)))))
    return folder


def metrics_by_epoch(folder: Path) -> dict[tuple[str, int], float]:
    """The metrics of each epoch, and of the test, by their names and the number of the epoch."""
    lines = (folder / "csv" / "metrics.csv").read_text().splitlines()
    names = lines[0].split(",")
    found: dict[tuple[str, int], float] = {}
    for line in lines[1:]:
        row = {name: float(text) for name, text in zip(names, line.split(","), strict=True) if text}
        if epoch := row.pop("epoch", None):
            found |= {(name, int(epoch)): value for name, value in row.items()}
    return found


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return torch.load(checkpoint, weights_only=True)["state_dict"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone") / "run"
    return train_alone(folder, *options(128, 4), *NO_NOISE, *CURVE)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as `alone`, on two processes with half the batch each, for three of the epochs."""
    cwd = tmp_path_factory.mktemp("together")
    command = ["-m", "vae_lightning.train", *options(64, 3), *NO_NOISE, *CURVE, *TWO]
    process = run_python(*command, "hydra.run.dir=run", cwd=cwd)
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    return cwd / "run"


def test_two_processes_with_half_the_batch_have_the_curve_of_one(
    alone: Path, together: Path
) -> None:
    found, expected = metrics_by_epoch(together), metrics_by_epoch(alone)
    names = {name for name, _ in found}
    assert {f"{stage}/elbo" for stage in ("train", "val", "test")} <= names
    for key, value in found.items():
        if key[0].startswith(("train/", "val/")):
            assert value == pytest.approx(expected[key], rel=1e-5), key
    metrics = read_metrics(together)
    assert metrics["images_per_second"] * metrics["seconds"] == pytest.approx(3 * 1027, rel=0.01)


def test_one_process_goes_on_where_two_have_ended(
    tmp_path: Path, alone: Path, together: Path
) -> None:
    checkpoint = together / "checkpoints" / "last.ckpt"
    resumed = train_alone(
        tmp_path / "resumed", *options(128, 4), *NO_NOISE, *CURVE, f"ckpt_path={checkpoint}"
    )
    expected = weights(alone / "checkpoints" / "last.ckpt")
    for name, weight in weights(resumed / "checkpoints" / "last.ckpt").items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-4, atol=1e-5)
    test = {key: value for key, value in metrics_by_epoch(alone).items() if "test/" in key[0]}
    found = metrics_by_epoch(resumed)
    assert {key: found[key] for key in test} == pytest.approx(test, rel=1e-5)


# -- noise, and how a run ends --------------------------------------------------------------------

NOISY = [*options(64, 3), *MINIMAL, *TWO, "data.binarize=dynamic"]


@dataclass
class Running:
    process: subprocess.Popen[str]
    other: int

    def end(self) -> tuple[int, str, str]:
        """The status and what is printed from now on; it may take some seconds only."""
        out, err = self.process.communicate(timeout=20)
        for _ in range(50):
            if not alive(self.other):
                return self.process.returncode, out, err
            time.sleep(0.1)
        raise AssertionError("the other process goes on")


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.fixture
def start(tmp_path: Path) -> Any:
    """Starts a run of two processes, and returns as soon as it has saved a checkpoint."""
    running = []

    def started(*overrides: str) -> Running:
        process = subprocess.Popen(
            [sys.executable, "-m", "vae_lightning.train", *overrides],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        running.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if re.match("epoch +(2|6)/", line):  # of a new run, or of one that goes on
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
                return Running(process, int(children.split()[0]))
        raise AssertionError(process.communicate()[1])

    yield started
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")


@needs_proc
def test_sigterm_to_one_process_stops_both_and_the_run_goes_on_to_the_last_bit(
    tmp_path: Path, start: Any
) -> None:
    """The run that is not interrupted is started by torchrun."""
    many = [item.replace("max_epochs=3", "max_epochs=1000") for item in NOISY]
    running = start(*many)
    os.kill(running.other, signal.SIGTERM)
    status, out, err = running.end()
    assert (status, err) == (143, "terminated\n")
    (step,) = map(int, re.findall(r"^Stopped at step (\d+)\. To go on:$", out, re.MULTILINE))
    assert step % STEPS, "the state within an epoch is not tested"
    command = shlex.split(out.splitlines()[-1])
    epochs = step // STEPS + 2
    again = [f"trainer.max_epochs={epochs}", "hydra.run.dir=again"]
    resumed = run_python(*command[1:], *again, cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr

    straight = run_python(
        "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
        "-m", "vae_lightning.train", *NOISY, f"trainer.max_epochs={epochs}",
        "task_name=straight", cwd=tmp_path,
    )  # fmt: skip
    assert straight.returncode == 0, straight.stderr
    assert straight.stdout.count("vae_lightning ") == straight.stdout.count("test elbo") == 1
    (folder,) = (tmp_path / "outputs" / "straight" / "runs").iterdir()
    assert [file.name for file in folder.glob("*.log")] == ["train.log"]
    expected = weights(folder / "checkpoints" / "last.ckpt")
    for name, weight in weights(tmp_path / "again" / "checkpoints" / "last.ckpt").items():
        assert torch.equal(weight, expected[name]), name

    # Noise and all, one process measures what two have: the same batches, with the same seeds.
    left = [item for item in NOISY if item not in (*TWO, "data=digits")]
    best = f"ckpt_path={folder / 'checkpoints' / 'best.ckpt'}"
    tested = read_metrics(train_alone(tmp_path / "tested", *left, best, "train=false"))
    measured = read_metrics(folder)
    for name in ("test/elbo", "test/rate", "test/distortion"):
        assert tested[name] == pytest.approx(measured[name], rel=1e-6)

    # One process does the rest of the epoch: 64 images in a step in place of 128.
    (interrupted,) = (tmp_path / "outputs" / "train" / "runs").iterdir()
    train_alone(
        tmp_path / "one", *left, f"trainer.max_epochs={step // STEPS + 1}",
        f"ckpt_path={interrupted / 'checkpoints' / 'last.ckpt'}",
    )  # fmt: skip
    images = (step // STEPS + 1) * 1027
    metrics = read_metrics(tmp_path / "one")
    assert metrics["images_per_second"] * metrics["seconds"] == pytest.approx(images, rel=1e-6)


@needs_proc
def test_if_a_process_is_killed_the_first_one_ends_with_one_line(start: Any) -> None:
    running = start(*(item.replace("max_epochs=3", "max_epochs=1000") for item in NOISY))
    os.kill(running.other, signal.SIGKILL)
    status, _, err = running.end()
    assert status == 1
    (line,) = err.splitlines()
    assert line.startswith("error: process 2 of 2 was ended by SIGKILL, and the run with it; ")
    assert line.endswith("last.ckpt")


@needs_proc
def test_if_the_first_process_is_killed_the_other_ends_with_one_line(
    start: Any, alone: Path
) -> None:
    """It goes on where one process has ended."""
    checkpoint = alone / "checkpoints" / "last.ckpt"
    resumed = [*options(64, 1000), *NO_NOISE, *MINIMAL, *TWO, f"ckpt_path={checkpoint}"]
    running = start(*resumed)
    running.process.kill()
    status, _, err = running.end()
    assert status == -signal.SIGKILL
    (line,) = err.splitlines()
    assert line.startswith("error: the process that started this one has ended")
