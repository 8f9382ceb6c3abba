"""Sweeps on several machines: submitit, SLURM and Ray, tested on this one."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from conftest import DIGITS, MINIMAL, TIMEOUT_SECONDS, CallCommand, read_metrics, run_python
from vae_lightning.checkpoint import Checkpoint
from vae_lightning.cli.job_state import is_running

SMALL = (*DIGITS, *MINIMAL, *(f"model.{part}.hidden=[4]" for part in ("encoder", "decoder")))
# They are found by the files that they hold open.
FINDS_PROCESSES = pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="this system does not show the files of processes"
)


def start(cwd: Path, *options: str, env: Mapping[str, str] | None = None) -> Any:
    return subprocess.Popen(
        [sys.executable, "-m", "vae_lightning.train", "-m", *SMALL, *options, "hydra.sweep.dir=s"],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition: Callable[[], Any]) -> Any:
    until = time.monotonic() + TIMEOUT_SECONDS
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


def log_of(job: Path) -> str:
    file = job / "train.log"
    return file.read_text() if file.is_file() else ""


def process_of(job: Path) -> int | None:
    """The process that writes the log of a job."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if link.readlink() == job / "train.log":
                return int(link.parts[2])
        except OSError:  # it has ended, or belongs to another user
            continue
    return None


def epochs(log: str) -> list[int]:
    return [int(number) for number in re.findall(r"^epoch +(\d+)/", log, re.MULTILINE)]


# -- submitit on this machine ---------------------------------------------------------------------


@FINDS_PROCESSES
def test_jobs_of_submitit_go_on_after_preemption_and_are_stopped_with_their_sweep(
    tmp_path: Path,
) -> None:
    pytest.importorskip("submitit")
    options = ("seed=0,1", "trainer.max_epochs=100000", "hydra/launcher=submitit_local")
    job, other = (tmp_path / "s" / name for name in ("0_seed=0", "1_seed=1"))
    with start(tmp_path, *options) as sweep:

        def wait_here(condition: Callable[[], Any]) -> None:
            wait_for(lambda: condition() or sweep.poll() is not None)

        wait_here(lambda: epochs(log_of(job)))
        pid = process_of(job)
        assert pid is not None
        os.kill(pid, signal.SIGUSR2)
        wait_here(lambda: "\nSaved at step " in log_of(job))
        first = len(epochs(log_of(job)))
        wait_here(lambda: len(epochs(log_of(job))) > first)
        wait_here(lambda: log_of(other))
        sweep.send_signal(signal.SIGTERM)
        _, err = sweep.communicate(timeout=TIMEOUT_SECONDS)
    assert sweep.returncode == 143, err
    assert err.startswith("terminated\n0 of 2 jobs are finished. To go on with the sweep:\n")
    log = log_of(job)
    assert "\nresumes from s/0_seed=0/checkpoints/last.ckpt" in log
    assert epochs(log) == list(range(1, len(epochs(log)) + 1))
    assert "\nStopped at step " in log
    assert not any(is_running(one) for one in (job, other))


# -- SLURM, without a cluster ---------------------------------------------------------------------

# What the commands of SLURM do, on one machine: sbatch runs the jobs of an array, srun a task.
COMMANDS = {
    "sbatch": """
        import os, re, subprocess, sys
        script = sys.argv[1]
        text = open(script).read()
        open(os.environ["CLUSTER"] + "/script.sh", "w").write(text)
        if "--partition=none" in text:
            sys.exit("sbatch: error: invalid partition specified: none")
        count = int(re.search(r"--array=0-([0-9]+)", text)[1]) + 1
        for task in range(count):
            if "--partition=cancelled" in text:
                open(os.environ["CLUSTER"] + f"/ended_7_{task}", "w").close()
                continue
            subprocess.Popen([sys.executable, os.environ["CLUSTER"] + "/job", script, str(task)],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        print("Submitted batch job 7")
    """,
    # Runs the script of a job, again if it was queued again.
    "job": """
        import os, pathlib, subprocess, sys
        script, task = sys.argv[1:]
        cluster = pathlib.Path(os.environ["CLUSTER"])
        env = {"SLURM_JOB_ID": str(7 + int(task)), "SLURM_ARRAY_JOB_ID": "7",
               "SLURM_ARRAY_TASK_ID": task, "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "1",
               "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "1", "SLURM_JOB_NUM_NODES": "1",
               "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
        text = open(script).read()
        queued, ended = cluster / f"queued_7_{task}", cluster / f"ended_7_{task}"
        queued.touch()
        while queued.exists():
            queued.unlink()
            subprocess.run(["bash", "-c", text], env={**os.environ, **env})
        ended.touch()
    """,
    "srun": """
        import os, sys
        arguments = sys.argv[1:]
        while arguments[0].startswith("--"):
            del arguments[: 1 if arguments[0] == "--unbuffered" else 2]
        os.execvp(arguments[0], arguments)
    """,
    "scontrol": """
        import os, sys
        assert sys.argv[1] == "requeue"
        open(os.environ["CLUSTER"] + "/queued_" + sys.argv[2], "w").close()
    """,
    "sacct": """
        import os
        print("JobID|State|NodeList")
        for task in range(9):
            ended = os.path.exists(os.environ["CLUSTER"] + f"/ended_7_{task}")
            print(f"7_{task}|{'CANCELLED' if ended else 'RUNNING'}|here")
    """,
}


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """The environment in which these commands are found."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    for name, code in COMMANDS.items():
        file = folder / name
        file.write_text(f"#!{sys.executable}\n{textwrap.dedent(code)}")
        file.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "CLUSTER": str(folder)}


@FINDS_PROCESSES
def test_jobs_of_slurm_are_queued_again_and_go_on_where_they_were(
    tmp_path: Path, cluster: dict[str, str], call_train: CallCommand
) -> None:
    pytest.importorskip("submitit")
    settings = ("partition=gpu", "gpus_per_node=1", "cpus_per_task=1", "mem_gb=8")
    launcher = ("hydra/launcher=slurm", *(f"hydra.launcher.{setting}" for setting in settings))
    job, other = tmp_path / "s/0_devices=1", tmp_path / "s/1_devices=2"
    options = ("trainer.devices=1,2", "trainer.max_epochs=40", *launcher)
    with start(tmp_path, *options, env=cluster) as sweep:
        wait_for(lambda: epochs(log_of(job)) or sweep.poll() is not None)
        pid = process_of(job)
        assert pid is not None
        os.kill(pid, signal.SIGTERM)  # as SLURM does some time before it kills a job
        wait_for(lambda: "\nSaved at step " in log_of(job))
        os.kill(pid, signal.SIGUSR2)
        out, err = sweep.communicate(timeout=TIMEOUT_SECONDS)
    assert sweep.returncode == 0, err
    assert "\n2 jobs, 1 thread each; " in out
    log = log_of(job)
    assert log.count("\nSaved at step ") == log.count("  vae_lightning ") == 2
    assert "\nresumes from s/0_devices=1/checkpoints/last.ckpt" in log
    assert epochs(log) == list(range(1, 41))
    assert not list(tmp_path.rglob("hpc_ckpt*"))  # Lightning's own way to queue a job again
    # Two processes, which are Lightning's and no tasks of SLURM, share 1,300 images.
    steps = [Checkpoint(one, prefer="last").step for one in (job, other)]
    assert steps == [40 * 11, 40 * 6]
    assert read_metrics(other)["test/elbo"] < 0
    assert "srun" not in log + log_of(other)

    script = (tmp_path / "cluster/script.sh").read_text()
    for option in (
        "partition=gpu", "time=240", "signal=USR2@120", "array=0-1%2", "nodes=1",
        "ntasks-per-node=1", "cpus-per-task=1", "gpus-per-node=1", "mem=8GB", "job-name=train",
    ):  # fmt: skip
        assert f"\n#SBATCH --{option}\n" in script
    assert f"srun --unbuffered --output {tmp_path}/s/.submitit/%A_%a/" in script

    alone = call_train(*SMALL, "trainer.max_epochs=40", "hydra.run.dir=alone")
    assert alone.status == 0, alone.err
    told, expected = read_metrics(job), read_metrics(tmp_path / "alone")
    for tag in ("train/elbo", "val/best_elbo", "test/elbo", "best_epoch"):
        assert told[tag] == expected[tag]


def test_jobs_that_slurm_refuses_or_cancels_are_told_in_a_line(
    tmp_path: Path,
    cluster: dict[str, str],
    call_train: CallCommand,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    submitit = pytest.importorskip("submitit")
    monkeypatch.setattr(submitit.SlurmJob, "_results_timeout_s", 0)  # for a slow disk
    options = ("-m", *SMALL, "seed=0,1", "hydra/launcher=slurm", "hydra.sweep.dir=s")
    missing = call_train(*options)
    assert missing.status == 1
    assert missing.err.startswith("error: hydra/launcher=slurm needs the commands sbatch and srun")
    for name, value in cluster.items():
        monkeypatch.setenv(name, value)
    several = call_train(*options, "hydra.launcher.tasks_per_node=2")
    assert several.err.startswith("error: hydra.launcher.tasks_per_node=2 would start each job sev")
    refused = call_train(*options, "hydra.launcher.partition=none")
    assert refused.status == 1
    assert refused.err.splitlines()[-1] == (
        "error: sbatch refuses the jobs: sbatch: error: invalid partition specified: none"
    )
    cancelled = call_train(*options, "hydra.launcher.partition=cancelled")
    assert cancelled.status == 1
    assert cancelled.out.count("failed: its job on the cluster was cancelled or killed") == 2
    errors = sorted(path.parent.name for path in tmp_path.rglob("error.txt"))
    assert errors == ["0_seed=0", "1_seed=1"]


# -- Ray ------------------------------------------------------------------------------------------


def test_jobs_run_as_tasks_of_ray_and_print_nothing(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    options = ("optimizer.lr=1e30,1e-3", "trainer.max_epochs=2", "hydra/launcher=ray")
    with start(tmp_path, *options) as sweep:
        out, err = sweep.communicate(timeout=TIMEOUT_SECONDS)
    assert sweep.returncode == 1
    assert err == ""
    lines = out.splitlines()
    assert lines[1].startswith("2 jobs, 1 thread each; ")
    assert sorted(line[:17] for line in lines[2:4]) == ["job 1 of 2: lr=1e", "job 2 of 2: lr=0."]
    assert "* │ 0.001 │    1 │" in out
    assert (tmp_path / "s/0_lr=1e+30/error.txt").read_text().startswith("distortion")
    assert epochs(log_of(tmp_path / "s/1_lr=0.001")) == [1, 2]


# -- what is not installed ------------------------------------------------------------------------

HIDDEN = """
import sys, types
sys.modules["hydra_plugins"] = types.ModuleType("hydra_plugins")
sys.modules["hydra_plugins"].__path__ = []
from vae_lightning.train import main
for launcher in ("joblib", "slurm", "submitit_local", "ray", "jobblib"):
    sys.argv = ["train", "-m", "seed=0,1", f"hydra/launcher={launcher}"]
    try:
        main()
    except SystemExit as stop:
        assert stop.code == 1
"""


def test_a_launcher_that_is_not_installed_is_answered_with_how_to_install_it(
    tmp_path: Path,
) -> None:
    process = run_python("-c", HIDDEN, cwd=tmp_path)
    joblib, slurm, local, ray, unknown = process.stderr.splitlines()
    end = "in the folder of the project"
    assert joblib == (
        "error: hydra/launcher=joblib needs hydra-joblib-launcher, not installed here: "
        f"pip install -e '.[sweep]' {end}"
    )
    assert slurm.startswith("error: hydra/launcher=slurm needs hydra-submitit-launcher")
    assert local.endswith(f"pip install -e '.[sweep]' {end}")
    assert ray.endswith(f"hydra-ray-launcher, not installed here: pip install -e '.[ray]' {end}")
    assert unknown.startswith("error: hydra/launcher=jobblib does not exist")
    assert list(tmp_path.iterdir()) == []
