"""The folder of a run: a free name, made once, never taken from another run."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from conftest import DIGITS, MINIMAL, CallCommand, read_metrics
from vae_lightning.cli.overrides import is_sweep
from vae_lightning.cli.run_folder import OutputFolder
from vae_lightning.config import compose
from vae_lightning.errors import ConfigError


def composed(command: str, *overrides: str, sweep: bool = False) -> Any:
    mode = ["hydra.mode=MULTIRUN"] if sweep else []
    config = compose(command, [*overrides, *mode], with_hydra=True)
    assert is_sweep(config.hydra) == sweep
    return config


@pytest.mark.parametrize("sweep", [False, True])
@pytest.mark.parametrize("command", ["train", "evaluate", "detect"])
def test_runs_of_the_same_second_have_folders_of_their_own(
    tmp_path: Path, command: str, sweep: bool
) -> None:
    key = "paths.output_dir" if command == "train" else "ckpt_path"
    override = f"{key}={tmp_path}"
    config = composed(command, override, sweep=sweep)
    # Each asks for its name before any of them makes its folder, as processes do.
    folders = [OutputFolder(config, [override]) for _ in range(2)]
    assert folders[0].path == folders[1].path
    assert not folders[0].path.exists()
    assert [folder.make() for folder in folders] == [True, False]
    again = OutputFolder(config, [override])
    assert again.path == Path(f"{folders[0].path}_2")
    assert again.make()


def test_a_folder_that_holds_a_run_is_refused_only_where_the_user_named_it(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "last.ckpt").touch()
    override = f"hydra.run.dir={tmp_path / 'run'}"
    config = composed("train", override)
    with pytest.raises(ConfigError, match="already holds a run, which this one would overwrite"):
        OutputFolder(config, [override]).check()
    unnamed = OutputFolder(config, [])
    unnamed.check()
    assert unnamed.path == tmp_path / "run_2"


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("train", "metrics.json"),
        ("evaluate", "metrics.json"),
        ("generate", "generate.json"),
        ("detect", "detect.json"),
        ("export", "model.json"),
    ],
)
@pytest.mark.parametrize("sweep", [False, True])
def test_no_command_overwrites_the_results_in_a_folder_that_the_user_named(
    tmp_path: Path, command: str, file: str, sweep: bool
) -> None:
    folder = tmp_path / "named" / "0_digits" if sweep else tmp_path / "named"
    folder.mkdir(parents=True)
    override = f"hydra.{'sweep' if sweep else 'run'}.dir={tmp_path / 'named'}"
    needs = [] if command == "train" else [f"ckpt_path={tmp_path}"]
    named = OutputFolder(composed(command, override, *needs, sweep=sweep), [override])
    named.check()
    (folder / file).touch()
    with pytest.raises(ConfigError, match=r"already holds a .*: name a new folder"):
        named.check()


def test_a_sweep_into_a_folder_that_the_user_named_runs_once(call_command: CallCommand) -> None:
    sweep = (*DIGITS, *MINIMAL, "trainer.max_epochs=1", "-m", "seed=0", "hydra.sweep.dir=named")
    first = call_command(*sweep)
    assert first.status == 0, first.err
    checkpoint = Path("named/0/checkpoints/best.ckpt")
    before = checkpoint.read_bytes()
    again = call_command(*sweep)
    assert again.status == 1
    assert again.err == (
        "error: named already holds a sweep, which this one would overwrite: name a new folder, "
        "or write resume=named to go on with it\n"
    )
    assert checkpoint.read_bytes() == before


def test_jobs_of_a_sweep_that_share_a_folder_are_refused(call_command: CallCommand) -> None:
    outcome = call_command("data=digits", "-m", "seed=0,1", "hydra.sweep.subdir=same")
    assert outcome.status == 1
    assert "hydra.sweep.subdir=same is the folder of several jobs" in outcome.err
    assert not Path("outputs").exists()


def test_a_run_writes_into_the_folder_that_was_checked(
    call_command: CallCommand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # A fast machine: the clock stands still from one run to the next.
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime(2026, 1, 2, 3, 4, 5)

    monkeypatch.setattr("hydra.core.utils.datetime", Clock)
    options = (*DIGITS, *MINIMAL, "trainer.max_epochs=1", "test=false")
    for number in ("", "_2", "_3"):
        outcome = call_command(*options)
        assert outcome.status == 0, outcome.err
        folder = tmp_path / "outputs" / "train" / "runs" / f"2026-01-02_03-04-05_digits{number}"
        assert f"{folder.relative_to(tmp_path)}\n" in outcome.out
        assert read_metrics(folder)["checkpoint"] == str(folder / "checkpoints" / "best.ckpt")
        assert (folder / ".hydra" / "config.yaml").is_file()
