"""Tables over the jobs of a multirun."""

import math
from pathlib import Path

import pytest

from run_folders import write_run
from vae_lightning.detection.scores import UNITS
from vae_lightning.detection.sweep import (
    TableRow,
    find_jobs,
    print_table,
    rows_summary,
    table_cells,
)


def test_the_folder_of_a_sweep_may_begin_with_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path / "sweep" / "0_digits")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_jobs("~/sweep") == ([], [tmp_path / "sweep" / "0_digits"])


def test_a_table_has_means_over_seeds_and_over_anomalies() -> None:
    rows = [
        TableRow("0", "elbo", [0, 1], 0.1, auroc=[0.5, 0.7], auprc=[0.2, 0.2]),
        TableRow("1", "elbo", [0], 0.3, auroc=[1.0], auprc=[0.4]),
    ]
    auroc = rows_summary(rows)[0]["auroc"]
    assert auroc["mean"] == pytest.approx(0.6)
    assert auroc["standard_deviation"] == pytest.approx(0.1 * math.sqrt(2))
    _, lines = table_cells(rows, "auroc")
    assert lines == [
        ["0", "0.100", "2", "0.600 ± 0.141"],
        ["1", "0.300", "1", "1.000"],
        ["mean", "0.200", "", "0.800"],
    ]


def test_a_printed_table_shows_every_score_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    rows = [
        TableRow("0", score, [0, 1], 0.1, auroc=[0.5, 0.7], auprc=[0.2, 0.3]) for score in UNITS
    ]
    print_table(rows, [{"data": "tiny", "num_samples": 5, "binarize": "none"}], [])
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if "0.600 ± 0.141" in line and "0.250 ± 0.071" in line]) == 5
    for score in UNITS:
        assert score.replace("_", " ") in [line.strip() for line in lines]
