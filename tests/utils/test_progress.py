import pytest

from vae_lightning.utils import progress as progress_module
from vae_lightning.utils.progress import progress


def test_a_bar_is_drawn_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress("images", 1000) as advance:
        advance(1000)
    assert "1000/1000" in capsys.readouterr().err


def test_elsewhere_a_line_is_printed_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("images", 1000) as advance:
        advance(500)
        assert capsys.readouterr().err == ""  # not before some seconds have passed
        monkeypatch.setattr(progress_module, "_SECONDS_BETWEEN_LINES", -1.0)
        advance(100)
        advance(400)
    assert capsys.readouterr().err == "images: 600 of 1,000\n"


def test_of_several_processes_only_the_first_one_shows_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_module, "_SECONDS_BETWEEN_LINES", -1.0)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with progress("images", 10) as advance:
        advance(5)
    assert capsys.readouterr().err == ""
