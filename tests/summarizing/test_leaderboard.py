"""Rows, their order, and what is said about them."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from run_folders import write_run, write_sweep
from vae_lightning.errors import ConfigError
from vae_lightning.summarizing.leaderboard import (
    Leaderboard,
    conclusions,
    leaderboard,
    protocol_text,
)
from vae_lightning.summarizing.runs import read_runs
from vae_lightning.summarizing.settings import differing_keys, selected

LATENT = "model.latent_dim"


def elbo(value: float) -> dict[str, Any]:
    return {"val/elbo": value, "test/nll": -value}


def board(
    folder: Path, metric: str = "val/elbo", group_by: Sequence[str] | None = None
) -> Leaderboard:
    return leaderboard(read_runs([folder])[0], metric, group_by)


def sweep_of(folder: Path, values: Mapping[int, Sequence[float]]) -> Path:
    """A sweep over the latent size and the seed, with `val/elbo` for each seed."""
    return write_sweep(
        folder,
        {
            (f"{LATENT}={size}", f"seed={seed}"): elbo(value)
            for size, found in values.items()
            for seed, value in enumerate(found)
        },
    )


def test_a_row_has_mean_and_deviation_over_seeds_and_the_best_checkpoint(tmp_path: Path) -> None:
    found = board(sweep_of(tmp_path / "sweep", {2: [-3.0, -5.0], 8: [-2.0, -1.0]}))
    assert found.keys == [LATENT]
    (group,) = found.groups
    assert [row.setting for row in group.rows] == [{LATENT: 8}, {LATENT: 2}]
    statistic = group.rows[1].statistic("val/elbo")
    assert statistic and statistic.count == 2
    assert (statistic.mean, statistic.deviation) == (-4.0, pytest.approx(math.sqrt(2)))
    assert group.rows[0].checkpoint == tmp_path / "sweep/3_digits/checkpoints/best.ckpt"
    assert conclusions(found, group) == []


def test_of_an_nll_the_lowest_is_the_best(tmp_path: Path) -> None:
    found = board(sweep_of(tmp_path / "sweep", {2: [-3.0], 8: [-1.0]}), metric="test/nll")
    assert [row.setting[LATENT] for row in found.groups[0].rows] == [8, 2]


def test_what_follows_from_an_option_is_no_key(tmp_path: Path) -> None:
    for prior in ("standard_normal", "vamp"):
        write_run(tmp_path / prior, [f"model/prior={prior}"], elbo(-1.0))
    # StandardNormal has no pseudo-inputs.
    assert differing_keys(read_runs([tmp_path])[0]) == ["model.prior"]
    more = ["model/prior=vamp", "model.prior.num_components=7"]
    write_run(tmp_path / "more", more, elbo(-1.0))
    assert differing_keys(read_runs([tmp_path])[0]) == ["model.prior", "model.prior.num_components"]


def test_runs_made_one_by_one_differ_in_all_their_hyperparameters(tmp_path: Path) -> None:
    write_run(tmp_path / "a", ["optimizer.lr=0.002", "seed=1", "task_name=x"], elbo(-1.0))
    write_run(tmp_path / "b", ["optimizer.lr=0.02", f"{LATENT}=2", "trainer=cpu"], elbo(-2.0))
    assert set(differing_keys(read_runs([tmp_path])[0])) == {"optimizer.lr", LATENT}


def test_an_experiment_stands_for_all_that_it_sets(tmp_path: Path) -> None:
    for name in ("iwae", "beta_vae"):
        write_run(tmp_path / name, [f"experiment={name}"], elbo(-1.0))
    assert differing_keys(read_runs([tmp_path])[0]) == ["experiment"]
    write_run(tmp_path / "none", [], elbo(-1.0))
    assert "experiment" not in differing_keys(read_runs([tmp_path])[0])


def test_a_key_that_a_sweep_varies_counts_whatever_it_is(tmp_path: Path) -> None:
    jobs = {(f"+trainer.accumulate_grad_batches={count}",): elbo(-count) for count in (1, 2)}
    found = board(write_sweep(tmp_path / "sweep", jobs))
    assert found.keys == ["trainer.accumulate_grad_batches"]


def test_runs_with_other_data_or_bounds_are_in_other_groups(tmp_path: Path) -> None:
    for number, binarize in enumerate(("none", "dynamic", "dynamic")):
        overrides = [f"data.binarize={binarize}", f"seed={number}"]
        write_run(tmp_path / str(number), overrides, elbo(-number))
    write_run(tmp_path / "3", ["data.binarize=dynamic"], elbo(-4.0), bound="another bound")
    groups = board(tmp_path).groups
    assert [len(group.runs) for group in groups] == [2, 1, 1]
    assert protocol_text(groups[0], groups) == "mnist, binarize=dynamic, bound on log p(x)"


def test_rows_closer_than_their_deviation_are_said_to_be_so(tmp_path: Path) -> None:
    values = {2: [-1.0, -2.0], 8: [-1.2, -2.2], 20: [-9.0, -9.1]}
    found = board(sweep_of(tmp_path / "a", values))
    (sentence,) = conclusions(found, found.groups[0])
    assert sentence.startswith("The first two rows differ in val/elbo by less than")
    found = board(sweep_of(tmp_path / "b", {2: [-1.0], 8: [-1.1]}))
    assert conclusions(found, found.groups[0]) == [
        "One run for each row: how far val/elbo depends on the seed is not known."
    ]


def test_rows_of_chosen_keys_say_in_what_else_their_runs_differ(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path / "sweep", {2: [-1.0, -2.0], 8: [-1.2, -2.2]})
    found = board(sweep, group_by=[])
    assert len(found.groups[0].rows) == 1
    assert conclusions(found, found.groups[0]) == [
        "The runs of a row also differ in " + LATENT + "."
    ]
    assert board(sweep, group_by=["latent_dim"]).keys == [LATENT]


def test_a_run_that_was_repeated_is_mentioned(tmp_path: Path) -> None:
    for name in "ab":
        write_run(tmp_path / name, [], elbo(-1.0))
    found = board(tmp_path)
    assert conclusions(found, found.groups[0]) == [
        "One run has the setting and the seed of another one."
    ]


def test_runs_without_the_metric_are_listed_with_a_reason(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [], elbo(-1.0))
    write_run(tmp_path / "b", [], {"val/elbo": math.nan})
    write_run(tmp_path / "c", [], {"val/rate": 1.0})
    write_run(tmp_path / "d", [])
    found = board(tmp_path)
    assert [run.problem for run in found.left_out] == [
        "failed: val/elbo is nan",
        "no val/elbo",
        "not finished",
    ]
    assert board(tmp_path / "d").groups == []


def test_runs_are_chosen_by_the_values_of_their_keys(tmp_path: Path) -> None:
    runs, _ = read_runs([sweep_of(tmp_path / "sweep", {2: [-1.0, -2.0], 8: [-3.0], 20: [-4.0]})])

    def sizes(*where: str) -> list[int]:
        return [run.settings[LATENT] for run in selected(runs, where)]

    assert sizes("model.latent_dim=2", "8") == [2, 2, 8]
    assert sizes("latent_dim=2.0", "seed=1") == [2]
    assert len(sizes("model/prior=standard_normal", "encoder.hidden=[400]")) == 4


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (["latnt_dim=2"], "no run has the key latnt_dim: did you mean model.latent_dim?"),
        (["latent_dim=3"], "no run has model.latent_dim=3: there are 2, 8"),
        (["hidden=3"], "hidden is the end of several keys: write model.decoder.hidden or"),
        (["3"], "where=3 is not a condition"),
    ],
)
def test_a_choice_without_runs_is_refused(tmp_path: Path, where: list[str], message: str) -> None:
    runs, _ = read_runs([sweep_of(tmp_path / "sweep", {2: [-1.0], 8: [-3.0]})])
    with pytest.raises(ConfigError) as error:
        selected(runs, where)
    assert str(error.value).startswith(message)


def test_unknown_metrics_and_keys_are_refused_with_the_nearest(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path / "sweep", {2: [-1.0]})
    with pytest.raises(ConfigError, match="no run has the metric val/elb: did you mean val/elbo"):
        board(sweep, metric="val/elb")
    with pytest.raises(ConfigError, match="no run has the key betta: did you mean objective"):
        board(sweep, group_by=["betta"])
