"""Sweeps: jobs that fail, sweeps that were stopped and go on, jobs side by side."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from joblib.externals.loky import get_reusable_executor
from omegaconf import OmegaConf

from conftest import DIGITS, MINIMAL, TIMEOUT_SECONDS, CallCommand, RunCommand, read_metrics
from vae_lightning.cli.command import run as run_command_line
from vae_lightning.cli.job_state import is_running
from vae_lightning.cli.parallel import Share, num_cores, share_of
from vae_lightning.errors import ConfigError, DivergedError
from vae_lightning.summarizing.curves import curve

SMALL = (*DIGITS, *MINIMAL, *(f"model.{part}.hidden=[4]" for part in ("encoder", "decoder")))
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


def only_sweep(cwd: Path) -> Path:
    (sweep,) = (cwd / "outputs/train/multiruns").iterdir()
    return sweep


def jobs_of(sweep: Path) -> list[str]:
    return sorted(path.name for path in sweep.iterdir() if path.is_dir())


def start(cwd: Path, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "vae_lightning.train", *options],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(condition: Callable[[], Any]) -> None:
    until = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


# -- names ----------------------------------------------------------------------------------------


def test_a_job_is_named_by_its_number_and_what_the_sweep_varies(
    call_train: CallCommand, tmp_path: Path
) -> None:
    swept = ("model/prior=standard_normal,mixture", "model.encoder.hidden=[4],[4,4]")
    outcome = call_train("-m", *SMALL, *swept, "trainer.max_epochs=1", "seed=3")
    assert outcome.status == 0, outcome.err
    assert jobs_of(only_sweep(tmp_path)) == [
        "0_hidden=4_prior=standard_normal", "1_hidden=4_prior=mixture",
        "2_hidden=4-4_prior=standard_normal", "3_hidden=4-4_prior=mixture",
    ]  # fmt: skip
    assert "\njob 2 of 4: hidden=[4] prior=mixture" in outcome.out


# -- jobs that fail -------------------------------------------------------------------------------


def run_tasks(task: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch, *overrides: str) -> int:
    """Run a sweep over three seeds whose task is replaced; the exit status."""
    monkeypatch.setattr(sys, "argv", ["train", "-m", *DIGITS, "seed=0,1,2", *overrides])
    try:
        run_command_line("train", prepare=lambda config: config, task=task, resumable=True)
    except SystemExit as stop:
        assert isinstance(stop.code, int)
        return stop.code
    return 0


@pytest.mark.parametrize(
    ("problem", "shown", "recorded"),
    [
        (ValueError("a bug\nof two lines"), "Traceback", "ValueError: a bug"),
        (MemoryError(), "error: out of memory: choose", "out of memory: choose a smaller"),
        (torch.OutOfMemoryError("CUDA: 2 GB"), "error: out of memory (CUDA: 2 GB)", "out of mem"),
        (DivergedError("no longer finite"), "error: no longer finite\n", "no longer finite"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_job_that_fails_is_recorded_and_the_others_run(
    problem: Exception,
    shown: str,
    recorded: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    done = []

    def task(config: dict[str, Any]) -> None:
        if config["seed"] == 1:
            raise problem
        done.append(config["seed"])

    assert run_tasks(task, monkeypatch) == 1
    assert done == [0, 2]
    told = capsys.readouterr()
    assert shown in told.err
    assert "To run those that failed again:\n  python -m vae_lightning.train resume=" in told.out
    errors = {path.parent.name: path.read_text() for path in tmp_path.rglob("error.txt")}
    assert list(errors) == ["1_seed=1"]
    assert errors["1_seed=1"].startswith(recorded)
    assert errors["1_seed=1"].count("\n") == 1


def test_a_process_that_is_killed_does_not_end_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pid = os.getpid()

    def task(config: dict[str, Any]) -> None:
        folder = Path(config["paths"]["run_dir"])
        assert os.getpid() != pid
        if config["seed"] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        (folder / "metrics.json").write_text(json.dumps({"val/best_elbo": -1.0}))

    status = run_tasks(task, monkeypatch, *JOBLIB)
    get_reusable_executor().shutdown(wait=True)  # joblib keeps its processes for later calls
    assert status == 1
    (sweep,) = (tmp_path / "outputs/train/multiruns").iterdir()
    assert (sweep / "0_seed=0/error.txt").read_text().startswith("its process was killed")
    assert (sweep / "2_seed=2/metrics.json").is_file()
    assert "failed: its process was killed" in capsys.readouterr().out


def test_a_job_that_another_process_runs_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep/1_seed=1").mkdir(parents=True)
    done = []
    with FileLock(tmp_path / "sweep/1_seed=1/.lock"):
        run_tasks(lambda config: done.append(config["seed"]), monkeypatch, "hydra.sweep.dir=sweep")
        assert is_running(tmp_path / "sweep/1_seed=1")
    assert done == [0, 2]
    assert "1_seed=1 is being written by another process" in capsys.readouterr().err
    assert not is_running(tmp_path / "sweep/1_seed=1")


# -- stop and go on -------------------------------------------------------------------------------


def test_a_sweep_that_was_killed_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, run_command: RunCommand, call_train: CallCommand
) -> None:
    options = (*SMALL, "trainer.max_epochs=40", "logger=csv")
    with start(tmp_path, "-m", *options, "seed=0,1,2") as process:
        assert process.stdout is not None
        lines = iter(process.stdout)
        next(line for line in lines if line.startswith("job 2 of 3: seed=1"))
        next(line for line in lines if line.startswith("epoch  5/40"))
        process.kill()
    sweep = only_sweep(tmp_path)
    first = (sweep / "0_seed=0/metrics.json").read_bytes()
    assert jobs_of(sweep) == ["0_seed=0", "1_seed=1"]

    resumed = run_command(f"resume={sweep.relative_to(tmp_path)}")
    assert resumed.returncode == 0, resumed.stderr
    assert "1 of 3 jobs are finished already" in resumed.stdout
    assert re.findall(r"^job (\d)", resumed.stdout, re.MULTILINE) == ["2", "3"]
    epochs = [int(x) for x in re.findall(r"^epoch +(\d+)/40", resumed.stdout, re.MULTILINE)]
    assert 4 < epochs[0] < 40
    assert epochs[-40:] == list(range(1, 41))
    assert (sweep / "0_seed=0/metrics.json").read_bytes() == first
    assert re.search(r"\* │ all runs │ +3 │", resumed.stdout)

    alone = call_train(*options, "seed=1")
    assert alone.status == 0, alone.err
    (run,) = (tmp_path / "outputs/train/runs").iterdir()
    told = read_metrics(sweep / "1_seed=1")
    expected = read_metrics(run)
    for tag in ("train/elbo", "val/best_elbo", "test/elbo", "best_epoch"):
        assert told[tag] == expected[tag]
    # All 40 epochs count, and all are in the curves.
    assert told["images_per_second"] * told["seconds"] == pytest.approx(40 * 1300)
    logged = {folder: curve(folder, "val/elbo") for folder in (sweep / "1_seed=1", run)}
    assert dict(logged[sweep / "1_seed=1"]) == dict(logged[run])


def test_jobs_that_failed_or_only_lack_their_results_are_run_again(
    tmp_path: Path, call_train: CallCommand
) -> None:
    options = (*SMALL, "trainer.max_epochs=2")
    outcome = call_train("-m", *options, "seed=0,1", "optimizer.lr=1e-3,1e30")
    assert outcome.status == 1
    command = shlex.split(outcome.out.splitlines()[-1])
    sweep = only_sweep(tmp_path)
    (sweep / "2_seed=1_lr=0.001/metrics.json").rename(tmp_path / "before.json")

    again = call_train(*command[3:])
    assert again.status == 1
    assert "1 of 4 jobs are finished already" in again.out
    assert re.findall(r"^job (\d)", again.out, re.MULTILINE) == ["2", "3", "4"]
    before = json.loads((tmp_path / "before.json").read_text())
    after = read_metrics(sweep / "2_seed=1_lr=0.001")
    for tag in ("val/best_elbo", "test/elbo"):
        assert after[tag] == before[tag]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resume=nowhere"], "nowhere does not exist: name the folder of a sweep"),
        (["resume=empty"], "empty holds no sweep: name the folder of a sweep"),
        (["resume=run"], "run holds no sweep: to resume a run, set ckpt_path"),
        (["resume=sweep", "seed=3"], "seed=3 does not go with resume: the jobs of sweep keep"),
        (["resume=evaluations"], "evaluations is a sweep of evaluate"),
        (["resume=sweep", "hydra/launcher=jobblib"], "hydra/launcher=jobblib"),
    ],
)
def test_what_cannot_go_on_is_refused_in_a_line(
    arguments: list[str], message: str, tmp_path: Path, call_train: CallCommand
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "run/.hydra").mkdir(parents=True)
    for name, command in (("sweep", "train"), ("evaluations", "evaluate")):
        settings = {
            "job": {"config_name": command},
            "overrides": {"task": ["seed=0,1"], "hydra": ["hydra.mode=MULTIRUN"]},
        }
        (tmp_path / name).mkdir()
        OmegaConf.save({"hydra": settings}, tmp_path / name / "multirun.yaml")
    outcome = call_train(*arguments)
    assert outcome.status == 1
    assert outcome.err.startswith(f"error: {message}")
    assert outcome.err.count("\n") == 1


# -- side by side ---------------------------------------------------------------------------------


def test_jobs_side_by_side_print_a_line_each_and_go_on_after_a_stop(
    tmp_path: Path, call_train: CallCommand
) -> None:
    swept = ("optimizer.lr=1e30,1e-3", "seed=0,1")
    with start(tmp_path, "-m", *SMALL, "trainer.max_epochs=60", *swept, *JOBLIB) as process:
        wait_for(lambda: list(tmp_path.rglob("last.ckpt")) or process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 143, err
    lines = out.splitlines()
    assert lines[1].startswith("4 jobs, 2 at a time, ")
    assert re.match(r"job \d of 4: lr=1e\+30 seed=\d · failed: distortion", lines[2])
    assert all(line.startswith("job ") for line in lines[2:])
    assert err.splitlines()[0] == "terminated"
    command = shlex.split(err.splitlines()[-1])
    sweep = only_sweep(tmp_path)
    for name in jobs_of(sweep):
        wait_for(lambda name=name: not is_running(sweep / name))  # type: ignore[misc]
    stopped = [path.parents[1].name for path in sweep.rglob("last.ckpt")]

    resumed = call_train(*command[3:], "hydra/launcher=basic")
    assert resumed.status == 1
    assert resumed.out.count("resumes from ") == len(stopped)
    assert "* │ 0.001 │    2 │" in resumed.out
    for name in stopped:
        log = (sweep / name / "train.log").read_text()
        assert log.count("  vae_lightning ") == 2  # each start adds to the log
        assert "\nepoch 60/60  " in log


def launcher(kind: str, **settings: Any) -> Any:
    return OmegaConf.create({"_target_": f"plugin.{kind}", **settings})


def test_threads_and_jobs_at_once_are_shared_out() -> None:
    cores = num_cores()
    assert share_of(launcher("BasicLauncher"), 8, 2) == Share()
    every = share_of(launcher("JoblibLauncher", n_jobs=-1), 100 * cores, 0)
    assert every == Share(jobs_at_once=cores, threads=1)
    assert share_of(launcher("JoblibLauncher", n_jobs=1), 8, 0) == Share(1, cores)
    # Not more than there are jobs; one for each device.
    assert share_of(launcher("JoblibLauncher", n_jobs=9), 1, 0) == Share(1, cores)
    assert share_of(launcher("JoblibLauncher", n_jobs=-1), 8, 3).jobs_at_once == 3
    local = {"cpus_per_task": None, "gpus_per_node": None}
    assert share_of(launcher("LocalLauncher", **local), cores, 0) == Share(cores, 1)
    assert share_of(launcher("SlurmLauncher", cpus_per_task=7), 8, 4) == Share(None, 7)
    ray = {"ray": {"remote": {"num_cpus": 3}}}
    assert share_of(launcher("RayLauncher", **ray), 8, 4) == Share(None, 3)
    with pytest.raises(ConfigError, match=r"^hydra.launcher.n_jobs=0 starts no job"):
        share_of(launcher("JoblibLauncher", n_jobs=0), 8, 0)


def test_a_process_takes_its_threads_and_keeps_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    monkeypatch.setattr(torch, "set_num_threads", lambda count: taken.append(count))
    taken: list[int] = []
    Share(threads=1, devices=2).take(3)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"
    Share(threads=2, devices=2).take(4)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"
    assert taken == [1, 2]
