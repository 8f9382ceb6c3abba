"""The bar of a training, and the lines that are printed without a terminal."""

import re
from pathlib import Path
from typing import Any

import pytest
from lightning import Callback

from tiny import tiny_data, tiny_module, tiny_trainer
from vae_lightning.callbacks import ProgressBar, progress_bar
from vae_lightning.utils import progress as progress_module

pytestmark = pytest.mark.filterwarnings(
    "ignore:The number of training batches", "ignore:Found .* in eval mode"
)


def fit(tmp_path: Path, *callbacks: Callback, **settings: Any) -> None:
    trainer = tiny_trainer(
        tmp_path, *callbacks, ProgressBar(), enable_progress_bar=True, **settings
    )
    trainer.fit(tiny_module(), tiny_data())


@pytest.fixture
def at_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_bar, "_SECONDS_BETWEEN_DRAWINGS", 0.0)


@pytest.mark.usefixtures("at_each_step")
@pytest.mark.parametrize("columns", [80, 60])
def test_the_bar_has_speed_and_time_left_and_fits_the_terminal(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    columns: int,
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    fit(tmp_path, max_epochs=2, log_every_n_steps=1)
    drawn = re.split(r"[\r\n]", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err))
    assert max(map(len, drawn)) <= columns
    full = [line for line in drawn if "images/s" in line and "elbo" in line]
    assert bool(full) == (columns == 80)
    assert any(re.search(r"\d+% .* \d:\d\d left \(run \d:\d\d\)", line) for line in drawn)


@pytest.mark.usefixtures("at_each_step")
def test_without_a_terminal_a_line_has_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_module, "_SECONDS_BEFORE_A_LINE", -1.0)
    fit(tmp_path, max_epochs=2)
    out = capsys.readouterr().out
    assert re.search(r"^epoch 1/2: \d+%, .*images/s, \d:\d\d left \(run \d:\d\d\)$", out, re.M)
    assert re.search(
        r"^epoch 1/2  elbo -?[\d.]+  val/elbo -?[\d.]+  [\d.]+ s  \d:\d\d left$", out, re.M
    )
    assert re.search(r"^epoch 2/2  .* s$", out, re.M)


def test_epochs_without_end_are_counted_without_a_total(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(tmp_path, max_epochs=-1, max_steps=2)
    assert capsys.readouterr().out.startswith("epoch 1  elbo")
