"""Finding runs and reading what they left."""

import json
from pathlib import Path

import pytest

from conftest import FinishedRun
from run_folders import write_run
from vae_lightning.checkpoint import Checkpoint
from vae_lightning.summarizing.curves import curve
from vae_lightning.summarizing.leaderboard import conclusions, leaderboard
from vae_lightning.summarizing.runs import find_runs, read_runs


def test_runs_are_found_at_any_depth_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("a/b/10_digits", "a/b/2_digits", "c"):
        write_run(tmp_path / name, metrics={})
    # Results of other commands, inside and outside of a run.
    write_run(tmp_path / "c" / "generate" / "time")
    (tmp_path / "c" / "link").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "link").symlink_to(tmp_path, target_is_directory=True)
    names = [path.relative_to(tmp_path).as_posix() for path in find_runs(tmp_path)]
    assert names == ["a/b/2_digits", "a/b/10_digits", "c"]


def test_a_run_that_several_folders_hold_is_read_once(tmp_path: Path) -> None:
    write_run(tmp_path / "a" / "run", metrics={"val/elbo": -1.0})
    runs, skipped = read_runs([tmp_path, tmp_path / "a", tmp_path / "a" / "run"])
    assert (len(runs), skipped) == (1, [])


def test_a_run_is_read_as_training_left_it(finished_run: FinishedRun) -> None:
    (run,), skipped = read_runs([finished_run.folder])
    assert skipped == []
    checkpoint = Checkpoint(finished_run.folder)
    assert run.metrics["val/elbo"] == pytest.approx(checkpoint.elbo)
    assert run.metrics["val/elbo"] == finished_run.metrics["val/best_elbo"]
    assert run.metrics["test/elbo"] == finished_run.metrics["test/elbo"]
    assert run.checkpoint == checkpoint.path
    assert run.settings["model.latent_dim"] == 20
    assert run.settings["model.prior"] == "standard_normal"
    assert run.protocol["data"] == "digits"


def test_the_curve_of_a_run_is_over_its_epochs(finished_run: FinishedRun) -> None:
    points = curve(finished_run.folder, "val/elbo")
    assert [epoch for epoch, _ in points] == [1, 2]
    assert points[-1][1] == pytest.approx(finished_run.metrics["val/elbo"])


def test_the_elbo_is_that_of_the_best_checkpoint(tmp_path: Path) -> None:
    write_run(tmp_path / "run", metrics={"val/elbo": -5.0, "val/best_elbo": -3.0})
    (run,), _ = read_runs([tmp_path])
    assert run.metrics == {"val/elbo": -3.0}


def test_files_that_are_cut_short_are_skipped_with_a_line_that_names_them(tmp_path: Path) -> None:
    write_run(tmp_path / "a", metrics={"val/elbo": -1.0})
    for name in ("metrics.json", ".hydra/config.yaml"):
        run = write_run(tmp_path / name.strip("."), metrics={"val/elbo": -1.0})
        text = (run / name).read_text()
        (run / name).write_text(text[: len(text) // 2] + "\n  {")
    runs, skipped = read_runs([tmp_path])
    assert len(runs) == 3
    assert [run.problem for run in runs].count("not finished") == 1
    assert len(skipped) == 2
    for name, line in zip((".hydra/config.yaml", "metrics.json"), skipped, strict=True):
        assert f"{name} cannot be read and is skipped" in line


def test_a_run_that_has_failed_says_why(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "error.txt").write_text("the loss is not finite\n")
    assert read_runs([run])[0][0].problem == "failed: the loss is not finite"


def write_evaluation(run: Path, time: str, nll: float, images: int = 360, k: int = 50) -> None:
    protocol = {
        "checkpoint": f"/elsewhere/{run.name}/checkpoints/best.ckpt",
        "images": images,
        "images_in_split": 360,
        "num_samples": k,
    }
    folder = run / "evaluate" / time
    folder.mkdir(parents=True)
    content = {"test/nll": nll, "test/elbo": -99.0, "protocol": protocol}
    (folder / "metrics.json").write_text(json.dumps(content))


def test_the_evaluation_of_all_images_with_the_most_samples_counts(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", metrics={"val/elbo": -3.0, "test/elbo": -2.0})
    write_evaluation(run, "2026-01-01", nll=1.5, k=5000)
    write_evaluation(run, "2026-01-02", nll=1.6)
    write_evaluation(run, "2026-01-03", nll=0.1, images=10, k=9000)
    latents = {"test/knn_accuracy": 0.9, "protocol": {"images": 360, "images_in_split": 360}}
    (run / "evaluate" / "latents").mkdir()
    (run / "evaluate" / "latents" / "metrics.json").write_text(json.dumps(latents))
    (found,), _ = read_runs([tmp_path])
    assert found.metrics["test/nll"] == 1.5
    assert found.metrics["test/knn_accuracy"] == 0.9
    assert found.num_samples == 5000
    assert found.metrics["test/elbo"] == -2.0
    table = leaderboard([found], "test/nll")
    assert conclusions(table, table.groups[0]) == ["The nll is that with K = 5,000 samples."]


def test_the_results_of_other_commands_are_no_runs(tmp_path: Path) -> None:
    write_evaluation(tmp_path, "time", nll=1.0)
    benchmark = write_run(tmp_path / "benchmark")
    file = benchmark / ".hydra" / "hydra.yaml"
    file.write_text(file.read_text().replace("config_name: train", "config_name: benchmark"))
    assert read_runs([tmp_path]) == ([], [])
