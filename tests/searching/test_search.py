"""The command `search`, with real runs on the digits."""

import importlib.util
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

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from conftest import DIGITS, MINIMAL, TIMEOUT_SECONDS, CallCommand, Outcome, read_metrics
from vae_lightning.searching import settings, study
from vae_lightning.searching.space import parse_space

Call = Callable[..., Outcome]

SMALL = (*DIGITS, *MINIMAL, *(f"model.{part}.hidden=[4]" for part in ("encoder", "decoder")))
# With this seed, the first value diverges and the fourth does not.
RANDOM = ("search.sampler=random", "seed=8")
LR = "optimizer.lr=interval(1e-3,1e-2)"
ONE_DIVERGES = "optimizer.lr=1e-3,1e30,1e-2"


@pytest.fixture
def call(call_command: CallCommand) -> Call:
    return lambda *args: call_command(*args, command="search")


def only_search(cwd: Path) -> Path:
    (folder,) = (cwd / "outputs/search").iterdir()
    return folder


def trials_of(folder: Path) -> list[optuna.trial.FrozenTrial]:
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    return optuna.load_study(study_name="search", storage=storage).trials


def states_of(folder: Path) -> list[str]:
    return [trial.state.name for trial in trials_of(folder)]


def start(cwd: Path, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "vae_lightning.search", *options],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition: Callable[[], Any]) -> None:
    until = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_search_that_was_killed_goes_on_and_loses_no_trial(tmp_path: Path, call: Call) -> None:
    options = (*SMALL, *RANDOM, ONE_DIVERGES, "search.trials=8", "search.pruner=none")
    with start(tmp_path, *options, "trainer.max_epochs=20") as process:
        assert process.stdout is not None
        told = []
        for line in process.stdout:
            told.append(line)
            if line.startswith("trial 3 of 8: "):
                break
        search = only_search(tmp_path)
        wait_for(lambda: list(search.glob("3_*/checkpoints/last.ckpt")))
        process.kill()
    assert any("· failed: distortion" in line for line in told)
    assert states_of(search)[3:] == ["RUNNING"]
    before = {path: path.read_bytes() for path in search.glob("[012]_*/metrics.json")}

    resumed = call(f"resume={search}")
    assert resumed.status == 0, resumed.err
    assert "8 trials, 3 of them done already" in resumed.out
    numbers = re.findall(r"^trial (\d) of 8", resumed.out, re.MULTILINE)
    assert numbers == ["4", "5", "6", "7", "8"]
    states = states_of(search)
    assert set(states) == {"COMPLETE", "FAIL"}
    assert len(states) == 8
    assert all(path.read_bytes() == content for path, content in before.items())
    (log,) = search.glob("3_*/train.log")
    assert "resumes from " in log.read_text()
    for trial, state in enumerate(states):
        (folder,) = search.glob(f"{trial}_*")
        assert (folder / "error.txt").exists() == (state == "FAIL")
    best = max((one for one in trials_of(search) if one.value), key=lambda one: one.value or 0)
    assert f"best   trial {best.number + 1}: lr={best.params['optimizer.lr']}." in resumed.out
    command = shlex.split(resumed.out.splitlines()[-1])
    assert command[:3] == ["python", "-m", "vae_lightning.train"]
    assert f"optimizer.lr={best.params['optimizer.lr']}" in command
    for name in ("history", "importances"):
        assert (search / f"search_{name}.png").stat().st_size > 5000
    assert (search / "summary.md").is_file()


def test_a_worker_that_is_killed_leaves_its_trial_to_the_others(tmp_path: Path) -> None:
    options = (*SMALL, LR, "search.trials=3", "search.n_jobs=2")
    with start(tmp_path, *options, "trainer.max_epochs=40", "search.pruner=none") as process:
        wait_for(lambda: list(tmp_path.rglob("last.ckpt")))
        os.kill(_workers(process.pid)[0], signal.SIGKILL)
        out, err = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 1
    assert "3 trials, 2 at a time" in out
    assert "epoch " not in out
    assert sorted(re.findall(r"^trial (\d) of 3", out, re.MULTILINE)) == ["1", "2", "3"]
    assert states_of(only_search(tmp_path)) == ["COMPLETE"] * 3
    assert err.startswith("error: 1 process was killed before the search was done")


def _workers(pid: int) -> list[int]:
    """The processes that a search has started to run trials."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(child)
        for child in children
        if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()
    ]


def test_the_value_of_a_trial_is_the_mean_over_its_seeds(tmp_path: Path, call: Call) -> None:
    overrides = (*SMALL, "trainer.max_epochs=1", LR, "search.trials=1", "search.seeds=2", "seed=5")
    outcome = call(*overrides)
    assert outcome.status == 0, outcome.err
    search = only_search(tmp_path)
    folders = sorted(search.glob("0_*"))
    assert [folder.name.rpartition("_")[2] for folder in folders] == ["seed=5", "seed=6"]
    first, second = (read_metrics(folder)["val/best_elbo"] for folder in folders)
    assert first != second
    assert trials_of(search)[0].value == pytest.approx((first + second) / 2)


def search_in(folder: Path, seed: int) -> settings.Search:
    folder.mkdir(exist_ok=True)
    options: Any = {"sampler": "random", "pruner": "none", "trials": 3}
    return settings.Search(folder, (), tuple(parse_space([LR])), options, seed, 3, False)


def test_values_depend_on_the_seed_and_on_the_process(tmp_path: Path) -> None:
    def first_value(name: str, seed: int, worker: int) -> float:
        search = search_in(tmp_path / name, seed)
        return float(search.space[0].suggest(study.open_study(search, worker).ask()))

    value = first_value("a", 0, 0)
    assert first_value("b", 0, 0) == value
    assert first_value("c", 1, 0) != value
    assert first_value("d", 0, 1) != value


def test_no_two_processes_run_a_trial_and_one_that_was_left_is_taken_up(tmp_path: Path) -> None:
    search = search_in(tmp_path, 0)
    opened = study.open_study(search, 0)
    with study.next_trial(opened, search) as first, study.next_trial(opened, search) as second:
        assert first is not None
        assert second is not None
        assert (first.number, second.number) == (0, 1)
        opened.tell(first, 1.0)
    # The second was left, as by a process that was killed.
    with study.next_trial(opened, search) as again, study.next_trial(opened, search) as third:
        assert again is not None
        assert third is not None
        assert (again.number, third.number) == (1, 2)
        with study.next_trial(opened, search) as none:
            assert none is None


def test_a_hopeless_trial_is_pruned_by_its_curve(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Everything is below 0.
    monkeypatch.setattr(study, "_pruner", lambda _: optuna.pruners.ThresholdPruner(lower=0.0))
    outcome = call(*SMALL, LR, "search.trials=1", "trainer.max_epochs=5")
    assert outcome.status == 1
    assert re.search(r"^trial 1 of 1: .* · pruned after epoch 1, val/elbo -\d", outcome.out, re.M)
    assert "failed: pruned" not in outcome.out
    assert outcome.err.startswith(
        "error: no trial has finished; the last one: pruned after epoch 1"
    )
    assert states_of(only_search(tmp_path)) == ["PRUNED"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the space of the search is empty"),
        (["model.latent_dmi=2,3"], "latent_dmi"),
        (["model/prior=vamp,mixtrue"], "did you mean mixture?"),
        (["model.latent_dim=range(0,4)"], "model.latent_dim=0 is out of range"),
        (["optimizer.lr=interval(-1,1)"], "optimizer.lr=-1.0 is out of range"),
        ([LR, "optimizer.lr=1e-3"], "optimizer.lr=1e-3 is searched as well"),
        (["seed=0,1"], "seed is not a hyperparameter"),
        ([LR, "search.n_jobs=0"], "search.n_jobs=0 is out of range"),
        ([LR, "search.trials=0"], "search.trials=0 is out of range"),
        ([LR, "search.sampler=best"], "search.sampler=best should be one of tpe, random"),
        ([LR, "search=trainnig"], "did you mean training?"),
        (
            [LR, "data.val_size=0", "callbacks.checkpoint.monitor=null"],
            "search compares val/elbo, and this run has no validation images",
        ),
        ([LR, "-m"], "search runs its trials itself: leave out -m"),
        (["resume=nowhere"], "nowhere does not exist: name the folder of one"),
        (["resume=empty"], "empty holds no search"),
        (["resume=held", LR], "optimizer.lr=interval(1e-3,1e-2) does not go with resume"),
        ([LR, "hydra.run.dir=held"], "held already holds a search: name a new folder, or write"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_a_line(
    arguments: list[str], message: str, tmp_path: Path, call: Call
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "held/.search").mkdir(parents=True)
    (tmp_path / "held/.search/overrides.yaml").write_text("[]\n")
    (tmp_path / "held/study.journal").touch()
    outcome = call(*(*DIGITS, *arguments) if "resume" not in str(arguments) else arguments)
    assert outcome.status == 1
    assert message in outcome.err
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


def test_a_missing_optuna_is_answered_with_how_to_install_it(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        settings, "find_spec", lambda name: None if name == "optuna" else real(name)
    )
    outcome = call(*DIGITS, LR)
    assert outcome.status == 1
    assert "pip install -e '.[search]'" in outcome.err
