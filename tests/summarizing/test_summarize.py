"""The command `summarize`: what it prints, writes and refuses."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from conftest import CallCommand, run_python
from run_folders import write_run, write_sweep
from vae_lightning.summarizing.arguments import as_overrides


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two long settings with two seeds; a failed job; a job without a result."""
    jobs: dict[tuple[str, ...], dict[str, Any] | None] = {}
    for number, hidden in enumerate(("[1024,512,256,128,64,32,16]", "[400]")):
        for seed in (0, 1):
            settings = (f"model.encoder.hidden={hidden}", "model/prior=vamp", f"seed={seed}")
            value = -100 - 10 * number - seed
            metrics: dict[str, Any] = {
                "val/elbo": value,
                "test/elbo": value + 1,
                "seconds": 100 * (number + 1),
            }
            metrics |= {"test/rate": 20.0, "test/distortion": 80.0 + number}
            jobs[*settings, "optimizer.lr=0.0001"] = metrics
            jobs[*settings, "optimizer.lr=0.01"] = {**metrics, "val/elbo": value - 5.5}
    jobs["seed=5",] = None
    return write_sweep(tmp_path / "sweep", jobs)


# On the narrower one, settings take several lines.
@pytest.mark.parametrize("width", [80, 54])
def test_the_leaderboard_fits_a_terminal_and_no_number_is_broken(
    sweep: Path, call_command: CallCommand, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    (sweep / "8_digits" / "error.txt").write_text("it diverged")
    outcome = call_command("sweep", command="summarize")
    assert (outcome.status, outcome.err) == (0, "")
    table, _, rest = outcome.out.partition("\n\n* best")
    assert max(map(len, table.splitlines())) <= width
    for text in ("-100.50 ± 0.71", "-116.00 ± 0.71", "1.7 min", "0.0001", "16]"):
        assert text in table
    assert table.index("-100.50") < table.index("-106.00") < table.index("-110.50")
    assert "sweep/8_digits: failed: it diverged" in rest
    assert "best  sweep/0_digits/checkpoints/best.ckpt" in rest
    assert "prior" not in table  # the same in all rows


def test_a_metric_that_not_all_runs_have_is_marked(
    call_command: CallCommand, tmp_path: Path
) -> None:
    for seed in (0, 1):
        nll = {"test/nll": 0.5} if seed else {}
        write_run(tmp_path / "runs" / str(seed), [f"seed={seed}"], {"val/elbo": -1.0, **nll})
    outcome = call_command("runs", command="summarize")
    assert "0.50 (1)" in outcome.out
    assert "test/nll is known of 1 of the 2 runs" in outcome.out


def test_the_files_hold_the_rows_and_the_pictures(sweep: Path, call_command: CallCommand) -> None:
    assert call_command("sweep", command="summarize").status == 0
    with (sweep / "summary.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["optimizer.lr"] for line in lines] == ["0.0001", "0.01"] * 2
    assert float(lines[0]["val/elbo mean"]) == -100.5
    assert lines[0]["val/elbo runs"] == lines[0]["runs"] == "2"
    assert lines[0]["checkpoint"] == "0_digits/checkpoints/best.ckpt"
    facts = json.loads((sweep / "summary.json").read_text())
    first = facts["groups"][0]["rows"][0]
    assert first["best"] and first["setting"]["optimizer.lr"] == 0.0001
    assert [run["seed"] for run in first["runs"]] == [0, 1]
    assert facts["without_result"][0]["reason"].startswith("not finished; last written")
    text = (sweep / "summary.md").read_text()
    assert "| **best** | " in text and "-100.50 ± 0.71" in text
    # Without a logger there are no curves.
    pictures = {file.name for file in sweep.glob("*.png")}
    assert pictures == {f"summary_{name}.png" for name in ("rate_distortion", "hidden", "lr")}
    assert all(f"]({name})" in text for name in pictures)


def test_folders_of_runs_are_named_without_a_key(
    sweep: Path, call_command: CallCommand, tmp_path: Path
) -> None:
    # As the jobs of a sweep may be named.
    run = write_run(tmp_path / "0_seed=1", ["data=digits"], {"val/elbo": -1.0})
    arguments = (run.name, "sweep", "output_dir=new", "where=data=digits", "where=seed=42,0")
    assert call_command(*arguments, "group_by=seed,lr", command="summarize").status == 0
    facts = json.loads((tmp_path / "new" / "summary.json").read_text())
    assert facts["keys"] == ["seed", "optimizer.lr"]
    assert [len(row["runs"]) for row in facts["groups"][0]["rows"]] == [1, 2, 2]
    assert not list(run.glob("summary*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name a folder of runs"),
        (("nowhere",), "nowhere does not exist"),
        (("empty",), "empty holds no training runs"),
        (("file",), "file is a file"),
        (("sweep", "output_dir=file"), "file cannot be written: Not a directory"),
        (("sweep", "where=3"), "where=3 is not a condition"),
        (("sweep", "metric=test/nll"), "no run has the metric test/nll"),
        (("sweep", "metrc=val/elbo"), "metrc is not a key of the configuration: did you mean met"),
        (("-m", "sweep", "metric=a,b"), "summarize runs one job"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    sweep: Path, call_command: CallCommand, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    outcome = call_command(*arguments, command="summarize")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith(f"error: {message}") and outcome.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_lists_and_folders_are_quoted_for_hydra() -> None:
    assert as_overrides(["a b", "c=d", "-m", "group_by=null"]) == [
        "c=d",
        "-m",
        "group_by=null",
        'folders=["a b"]',
    ]
    assert as_overrides(["--help", "x"]) == ["--help", "x"]


def test_the_command_loads_neither_torch_nor_lightning(sweep: Path) -> None:
    code = (
        "import sys; from vae_lightning.summarize import main; sys.argv[1:] = ['sweep']; main(); "
        "sys.exit(bool({'torch', 'lightning'} & set(sys.modules)))"
    )
    process = run_python("-c", code, cwd=sweep.parent)
    assert process.returncode == 0, process.stderr
    assert "wrote  sweep/summary.md" in process.stdout
