"""The log of a run."""

import sys
from pathlib import Path

import pytest

from vae_lightning.cli.log import Log, wrapped
from vae_lightning.errors import ConfigError
from vae_lightning.utils.progress import live


def logged(folder: Path) -> list[str]:
    """The lines of a log after the first."""
    return (folder / "train.log").read_text(encoding="utf-8").splitlines()[1:]


def test_a_log_has_what_was_printed_without_bars_and_colours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Log("train") as log:
        print("before the folder is made")
        log.open_in(tmp_path, ["data=digits"])
        print("\x1b[1mMNIST\x1b[0m: 55,000 images")
        with live() as bar:
            bar.add_task("drawn again and again")
            print("half a ", end="")
            bar.refresh()
            print("line")
        print("warning: a mistake", file=sys.stderr)
        print("\rmodel.gz  10%", end="", file=sys.stderr, flush=True)
        print("\rmodel.gz 100%", file=sys.stderr)
    print("after it")
    assert logged(tmp_path) == [
        "before the folder is made",
        "MNIST: 55,000 images",
        "half a line",
        "warning: a mistake",
    ]
    assert "train data=digits" in (tmp_path / "train.log").read_text(encoding="utf-8")
    assert "half a line\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "last"),
    [
        (ConfigError("no such key"), "error: no such key"),
        (KeyboardInterrupt(), "interrupted"),
        (
            ZeroDivisionError("a mistake of the program"),
            "ZeroDivisionError: a mistake of the program",
        ),
    ],
)
def test_a_log_ends_with_the_error(tmp_path: Path, error: BaseException, last: str) -> None:
    with pytest.raises(type(error)), Log("train") as log:
        log.open_in(tmp_path, [])
        raise error
    assert logged(tmp_path)[-1] == last


def test_only_the_first_of_several_processes_writes_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    with Log("train") as log:
        log.open_in(tmp_path, [])
        print("from the second process")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("width", [20, 40, 60, 80])
def test_a_wide_line_is_wrapped_between_words(width: int) -> None:
    line = (
        "MNIST: 55,000 training, 5,000 validation (split), 10,000 test images · 652,824 parameters"
    )
    rows = wrapped(line, width).split("\n")
    assert max(map(len, rows)) <= width
    assert " ".join(rows) == line


def test_a_path_that_is_wider_than_the_terminal_and_a_command_stay_whole() -> None:
    path = "x" * 30
    assert wrapped(f"checkpoint  {path}", 20) == f"checkpoint  {path}"
    command = "  python -m vae_lightning.train data=digits"
    assert wrapped(command, 20) == command
