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
        OutputFolder(config, [override]).check(trains=True)
    OutputFolder(config, [override]).check(trains=False)
    unnamed = OutputFolder(config, [])
    unnamed.check(trains=True)
    assert unnamed.path == tmp_path / "run_2"


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
