import re
from itertools import groupby

import pytest

from vae_lightning.utils import progress as progress_module
from vae_lightning.utils.progress import progress, stage


def test_a_bar_is_drawn_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress("images", 1000) as advance:
        advance(1000)
    assert "1000/1000" in capsys.readouterr().err


def test_elsewhere_a_line_with_the_time_left_is_printed_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("images", 1000) as advance:
        advance(500)
        assert capsys.readouterr().out == ""  # not before some seconds have passed
    monkeypatch.setattr(progress_module, "_SECONDS_BEFORE_A_LINE", -1.0)
    with progress("images", 1000) as advance:
        advance(600)
        advance(400)
    assert capsys.readouterr().out == "images: 600 of 1,000, 0:00 left\n"


def test_of_several_processes_only_the_first_one_shows_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_module, "_SECONDS_BEFORE_A_LINE", -1.0)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with progress("images", 10) as advance:
        advance(5)
    assert capsys.readouterr().out == ""


def test_of_tasks_within_each_other_the_innermost_is_drawn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with stage("testing"), progress("images", 1000) as advance:
        advance(1000)
        assert [bar.live.is_started for bar in progress_module._live] == [False, True]
    drawn = re.findall("testing|images", capsys.readouterr().err)
    assert [name for name, _ in groupby(drawn)] == ["testing", "images", "testing"]
