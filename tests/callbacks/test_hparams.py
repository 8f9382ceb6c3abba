"""TensorBoard's page HPARAMS: its columns and the row of a run."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from conftest import DIGITS, CallCommand
from vae_lightning.config import compose, to_container
from vae_lightning.config.hyperparameters import hyperparameters, identity

FAST = (*DIGITS, "callbacks=minimal", "trainer.max_epochs=1", "data.eval_batch_size=100")
SMALL = ("model.encoder.hidden=[4]", "model.decoder.hidden=[4]")


def events(run: Path, group: str = "") -> EventAccumulator:
    return EventAccumulator(str(run / "tensorboard" / group), {"scalars": 0}).Reload()


def row_name(run: Path) -> str:
    found = events(run).summary_metadata["_hparams_/session_start_info"]
    return HParamsPluginData.FromString(found.plugin_data.content).session_start_info.group_name


def hparams(run: Path) -> tuple[Any, dict[str, float | str]]:
    """The columns, and the values of the row."""
    found = events(run).summary_metadata

    def content(tag: str) -> Any:
        return HParamsPluginData.FromString(found[f"_hparams_/{tag}"].plugin_data.content)

    values = content("session_start_info").session_start_info.hparams
    assert "session_end_info" in {tag.rpartition("/")[2] for tag in found}
    row = {
        key: value.number_value if value.HasField("number_value") else value.string_value
        for key, value in values.items()
    }
    return content("experiment").experiment, row


def ticked(columns: Any) -> list[str]:
    """The hyperparameters that TensorBoard shows at first: those that differ, then by name."""
    order = sorted(columns.hparam_infos, key=lambda info: (not info.differs, info.name))
    return [info.name for info in order[:5]]


def config_of(*overrides: str) -> dict[str, Any]:
    return to_container(compose("train", [*overrides, "paths.run_dir=here"]))


def test_a_run_has_a_row_of_what_identifies_it(call_train: CallCommand, tmp_path: Path) -> None:
    assert call_train(*FAST, *SMALL, "seed=3").status == 0
    (run,) = (tmp_path / "outputs/train/runs").iterdir()
    columns, row = hparams(run)
    assert row == {
        "data.name": "digits",
        "data.batch_size": 128,
        "model": "VAE",
        "model.latent_dim": 20,
        "model.prior": "StandardNormal",
        "model.posterior": "DiagonalNormal",
        "model.likelihood": "Bernoulli",
        "objective": "ELBO",
        "objective.beta": 1,
        "objective.num_samples": 1,
        "optimizer": "Adam",
        "optimizer.lr": 0.001,
        "seed": 3,
        "trainer.max_epochs": 1,
    }
    assert row.keys() <= {info.name for info in columns.hparam_infos}
    chosen = "encoder.hidden=[4] decoder.hidden=[4] seed=3 data=digits max_epochs=1"
    assert row_name(run) == f"{chosen} (train/runs/{run.name})"
    metrics = [(info.name.group, info.name.tag) for info in columns.metric_infos]
    assert metrics == [("val", "val/elbo"), ("", "test/elbo"), ("", "test/nll")]
    assert {"test/elbo"} <= set(events(run).Tags()["scalars"])
    assert {"val/elbo"} <= set(events(run, "val").Tags()["scalars"])
    first = ["model.latent_dim", "model.prior", "objective", "optimizer.lr", "seed"]
    assert ticked(columns) == first


def test_swept_keys_are_shown_first_in_the_rows_of_a_sweep(
    call_train: CallCommand, tmp_path: Path
) -> None:
    swept = ("scheduler=constant,cosine", "optimizer.betas=[0.9,0.99]", "seed=range(1,2)")
    assert call_train("-m", *FAST, *SMALL, *swept).status == 0
    (sweep,) = (tmp_path / "outputs/train/multiruns").iterdir()
    jobs = sorted(path.parent for path in sweep.glob("*/metrics.json"))
    rows = [hparams(job)[1] for job in jobs]
    assert [row["scheduler"] for row in rows] == ["ConstantLR", "CosineAnnealingLR"]
    names = [row_name(job) for job in jobs]
    assert [name.partition(" (")[0] for name in names] == [
        "scheduler=constant seed=1", "scheduler=cosine seed=1",
    ]  # fmt: skip
    # TensorBoard would average rows of the same name.
    assert names[0].endswith(f"(train/multiruns/{sweep.name}/{jobs[0].name})")
    for job in jobs:
        columns, row = hparams(job)
        assert {"scheduler", "seed"} <= set(ticked(columns))
        # Of all jobs the same value.
        assert "optimizer.betas" not in row
        assert row["seed"] == 1


@pytest.mark.parametrize(
    ("overrides", "key", "value"),
    [
        (["model.latent_dim=7"], "model.latent_dim", 7),
        (["optimizer.lr=3e-4"], "optimizer.lr", 0.0003),
        (["model=hierarchical", "model.latent_dims=[5,3]"], "model.latent_dims", "[5, 3]"),
        (["model=vector_quantized", "model.num_codes=9"], "model.num_codes", 9),
        (["model/prior=vamp"], "model.prior", "Vamp"),
        (["objective=importance_weighted", "objective.num_samples=5"], "objective.num_samples", 5),
    ],
)
def test_columns_are_the_same_for_all_models(overrides: list[str], key: str, value: Any) -> None:
    # TensorBoard takes the columns of all runs from one of them.
    plain, found = (identity(config_of(*settings), {}, 5) for settings in ([], overrides))
    assert found.values[key] == value
    assert (found.numbers, found.names) == (plain.numbers, plain.names)


def test_a_swept_group_is_named_by_its_class_and_other_keys_by_their_value() -> None:
    config = config_of("model/prior=mixture", "model.encoder.hidden=[8]")
    swept = {"model/prior": "mixture", "model.encoder.hidden": [8], "experiment": "vampprior"}
    row = identity(config, swept, 2)
    assert row.values["model.prior"] == "Mixture"
    assert row.values["model.encoder.hidden"] == "[8]"
    assert row.values["experiment"] == "vampprior"
    assert row.first == ["model.prior", "model.encoder.hidden"]


def test_hyperparameters_are_numbers_where_they_are_numbers() -> None:
    found = hyperparameters(config_of("trainer.max_epochs=7", "trainer.gradient_clip_val=0.5"))
    assert (found["trainer.max_epochs"], found["trainer.gradient_clip_val"]) == (7, 0.5)
    assert {type(value) for value in found.values()} == {int, float, str}


def test_a_resumed_run_continues_the_curves_and_no_point_is_repeated(
    call_train: CallCommand, tmp_path: Path
) -> None:
    assert call_train(*FAST, *SMALL, "task_name=first").status == 0
    (first,) = (tmp_path / "outputs/first/runs").iterdir()
    settings = (*SMALL, "trainer.max_epochs=2", f"ckpt_path={first}", "task_name=second")
    assert call_train(*FAST, *settings).status == 0
    (second,) = (tmp_path / "outputs/second/runs").iterdir()
    for group, tag in (("", "train/elbo"), ("val", "val/elbo"), ("", "learning_rate")):
        points = [
            [point.step for point in events(run, group).Scalars(tag)] for run in (first, second)
        ]
        assert points == [[11], [22]]
    for run, group in product((first, second), ("", "val")):
        found = events(run, group)
        assert "epoch" not in found.Tags()["scalars"]
        for tag in found.Tags()["scalars"]:
            steps = [point.step for point in found.Scalars(tag)]
            assert len(steps) == len(set(steps))
