"""The learning rate over a run, and the optimisers and schedules that are refused."""

import inspect
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning import Callback
from torch import optim
from torch.optim import lr_scheduler

from conftest import DIGITS, MINIMAL
from tiny import options, tiny_data, tiny_module, tiny_trainer
from vae_lightning.config import compose, to_container
from vae_lightning.errors import ConfigError
from vae_lightning.training.build import build
from vae_lightning.training.module import VAEModule
from vae_lightning.training.scheduling import make_optimizer, make_scheduler, step_on_plateau


class Rates(Callback):
    """Notes the learning rate of each step."""

    def __init__(self) -> None:
        self.noted: list[float] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.noted.append(optimizer.param_groups[0]["lr"])


def scheduler_node(cls: type, **arguments: Any) -> dict[str, Any]:
    target = f"torch.optim.lr_scheduler.{cls.__name__}"
    return {"_target_": target, "_partial_": True, **arguments}


def stepping_module(scheduler: Any, interval: Any) -> VAEModule:
    module = tiny_module(lr=0.8, scheduler=scheduler)
    module.interval = interval
    return module


HALVING = partial(lr_scheduler.ExponentialLR, gamma=0.5)


@pytest.mark.parametrize(
    ("interval", "accumulated", "expected"),
    [
        ("epoch", 1, [0.8, 0.8, 0.8, 0.4, 0.4, 0.4]),
        ("step", 1, [0.8, 0.4, 0.2, 0.1, 0.05, 0.025]),
        # Three batches of an epoch make two steps.
        ("step", 2, [0.8, 0.4, 0.2, 0.1]),
    ],
)
def test_a_schedule_steps_by_the_interval_that_it_is_given(
    tmp_path: Path, interval: str, accumulated: int, expected: list[float]
) -> None:
    rates = Rates()
    trainer = tiny_trainer(tmp_path, rates, max_epochs=2, accumulate_grad_batches=accumulated)
    trainer.fit(stepping_module(HALVING, interval), tiny_data())
    assert rates.noted == pytest.approx(expected)


@pytest.mark.parametrize("name", options("scheduler"))
def test_every_option_says_what_it_counts(name: str) -> None:
    config = to_container(compose("train", [f"scheduler={name}", "paths.run_dir=unused"]))
    assert config["scheduler"]["interval"] == "epoch"


# -- a plateau ------------------------------------------------------------------------------------


@pytest.fixture
def planted_elbos(monkeypatch: pytest.MonkeyPatch) -> None:
    """The schedule is told these values of val/elbo, by epoch."""

    def planted(trainer: Any) -> None:
        reached = {"val/elbo": torch.tensor(ELBOS[trainer.current_epoch])}
        step_on_plateau(
            SimpleNamespace(  # type: ignore[arg-type]
                callback_metrics=reached, lr_scheduler_configs=trainer.lr_scheduler_configs
            )
        )

    monkeypatch.setattr("vae_lightning.training.module.step_on_plateau", planted)


def plateau_run(folder: Path, *overrides: str) -> Any:
    options = (*DIGITS, *MINIMAL, "data.size=8", "scheduler=plateau", "scheduler.patience=1")
    small = ("model.encoder.hidden=[8]", "model.decoder.hidden=[8]", "optimizer.lr=0.008")
    composed = compose("train", [*options, *small, f"paths.run_dir={folder}", *overrides])
    return build(to_container(composed))


class StopAfter(Callback):
    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        trainer.should_stop = trainer.current_epoch + 1 == self.epochs


# Better, not better twice, better again, and again not.
ELBOS = (-100.0, -101.0, -100.0, -90.0, -91.0, -91.0, -92.0)
HALVED = [0.008] * 3 + [0.004] * 3 + [0.002]


def epochs(rates: Rates) -> list[float]:
    return rates.noted[::11]


def test_a_plateau_is_that_of_the_elbo_of_validation(tmp_path: Path) -> None:
    module = stepping_module(partial(lr_scheduler.ReduceLROnPlateau, mode="max"), "epoch")
    trainer = tiny_trainer(tmp_path)
    trainer.fit(module, tiny_data())
    (config,) = trainer.lr_scheduler_configs
    assert config.scheduler.best == float(trainer.callback_metrics["val/elbo"])  # type: ignore[union-attr]


@pytest.mark.usefixtures("planted_elbos")
def test_plateau_halves_the_rate_where_the_elbo_stands_still(tmp_path: Path) -> None:
    rates = Rates()
    run = plateau_run(tmp_path, "trainer.max_epochs=7")
    run.trainer.callbacks[:0] = [rates]
    run.fit()
    assert epochs(rates) == pytest.approx(HALVED)


@pytest.mark.usefixtures("planted_elbos")
@pytest.mark.parametrize("stop", [2, 3])
def test_a_plateau_goes_on_in_a_resumed_run(tmp_path: Path, stop: int) -> None:
    rates = Rates()
    first = plateau_run(tmp_path / "first", "trainer.max_epochs=7")
    first.trainer.callbacks[:0] = [rates, StopAfter(stop)]
    first.fit()
    checkpoint = f"ckpt_path={tmp_path / 'first'}"
    second = plateau_run(tmp_path / "second", "trainer.max_epochs=7", checkpoint)
    second.trainer.callbacks[:0] = [rates]
    second.fit()
    assert epochs(rates) == pytest.approx(HALVED)


# -- what is refused ------------------------------------------------------------------------------

# What a class needs besides the parameters or the optimiser.

SCHEDULER_ARGUMENTS: dict[str, dict[str, Any]] = {
    "CosineAnnealingLR": {"T_max": 2},
    "CosineAnnealingWarmRestarts": {"T_0": 2},
    "CyclicLR": {"base_lr": 0.1, "max_lr": 0.2, "interval": "step"},
    "ExponentialLR": {"gamma": 0.9},
    "MultiStepLR": {"milestones": [1]},
    "OneCycleLR": {"max_lr": 0.2, "total_steps": 6, "interval": "step"},
    "ReduceLROnPlateau": {"mode": "max"},
    "StepLR": {"step_size": 1},
}


def classes(module: Any, base: type) -> list[Any]:
    found = [cls for cls in vars(module).values() if inspect.isclass(cls) and issubclass(cls, base)]
    return [cls for cls in found if cls is not base and not cls.__name__.startswith("_")]


@pytest.mark.parametrize("cls", classes(optim, optim.Optimizer))
def test_every_optimiser_of_torch_trains_or_is_refused_before(tmp_path: Path, cls: Any) -> None:
    try:
        make = make_optimizer({"_target_": f"torch.optim.{cls.__name__}", "_partial_": True})
        module = tiny_module()
        module.make_optimizer = make
        module.optimizer_and_scheduler()
    except (ConfigError, ValueError) as error:
        assert cls.__name__ in str(error)
        assert cls.__name__ in ("LBFGS", "Muon", "SparseAdam")
        return
    trainer = tiny_trainer(tmp_path)
    trainer.fit(module, tiny_data())
    assert float(trainer.callback_metrics["val/elbo"]) < 0


@pytest.mark.parametrize("cls", classes(lr_scheduler, lr_scheduler.LRScheduler))
def test_every_schedule_of_torch_trains_or_is_refused_before(tmp_path: Path, cls: Any) -> None:
    node = scheduler_node(cls, **SCHEDULER_ARGUMENTS.get(cls.__name__, {}))
    try:
        make = make_scheduler(node, 2)
    except ConfigError as error:
        assert cls.__name__ in str(error)
        assert cls.__name__ in (
            "LambdaLR", "MultiplicativeLR", "SequentialLR", "ChainedScheduler"
        )  # fmt: skip
        return
    module = stepping_module(make, node.get("interval", "epoch"))
    # OneCycleLR and CyclicLR change the momentum.
    module.make_optimizer = partial(optim.SGD, lr=0.1, momentum=0.9)
    trainer = tiny_trainer(tmp_path, max_epochs=2)
    trainer.fit(module, tiny_data())
    assert float(trainer.callback_metrics["val/elbo"]) < 0


@pytest.mark.parametrize("cls", [lr_scheduler.OneCycleLR, lr_scheduler.CyclicLR])
def test_a_schedule_that_counts_steps_is_not_stepped_by_epochs(cls: Any) -> None:
    node = scheduler_node(cls, **SCHEDULER_ARGUMENTS[cls.__name__])
    make_scheduler(node, 2)
    for interval in ({"interval": "epoch"}, {}):
        del node["interval"]
        node |= interval
        with pytest.raises(ConfigError, match=r"counts steps: set scheduler\.interval=step"):
            make_scheduler(node, 2)
        node["interval"] = "step"


def test_a_schedule_that_ends_before_the_run_is_refused_before_the_first_step(
    tmp_path: Path,
) -> None:
    one_cycle = partial(lr_scheduler.OneCycleLR, max_lr=0.2, total_steps=5)
    module = stepping_module(one_cycle, "step")
    module.make_optimizer = partial(optim.SGD, lr=0.1, momentum=0.9)
    trainer = tiny_trainer(tmp_path, max_epochs=2)
    with pytest.raises(ConfigError, match=r"the run takes 6: set scheduler\.total_steps=6"):
        trainer.fit(module, tiny_data())
    assert trainer.global_step == 0


@pytest.mark.parametrize("option", ["cosine", "linear"])
@pytest.mark.parametrize("end", ["-1", "null"])
def test_a_schedule_that_falls_until_the_last_epoch_needs_one(option: str, end: str) -> None:
    settings = [f"scheduler={option}", f"trainer.max_epochs={end}", "+trainer.max_steps=5"]
    config = to_container(compose("train", [*settings, "paths.run_dir=unused"]))
    with pytest.raises(ConfigError, match=rf"={end} is trainer\.max_epochs.* scheduler=constant"):
        build(config)
    # Each piece of the advice works.
    key = "T_max" if option == "cosine" else "total_iters"
    for scheduler in (config["scheduler"] | {key: 3}, scheduler_node(lr_scheduler.ConstantLR)):
        make_scheduler(scheduler, config["trainer"]["max_epochs"])


@pytest.mark.parametrize("option", ["constant", "stages", "plateau"])
def test_a_schedule_without_a_length_runs_without_end(option: str) -> None:
    settings = [f"scheduler={option}", "trainer.max_epochs=-1", "trainer=cpu"]
    build(to_container(compose("train", [*settings, "paths.run_dir=unused"])))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["scheduler=cosine", "scheduler.interval=step"], "set scheduler.T_max to a number of s"),
        (["scheduler=cosine", "scheduler.T_max=0"], "scheduler.T_max=0 is out of range"),
        (["scheduler=cosine", "scheduler.eta_min=-1"], "scheduler.eta_min=-1 is out of range"),
        (["scheduler=linear", "scheduler.total_iters=0"], "total_iters=0 is out of range"),
        (["scheduler=linear", "scheduler.end_factor=-1"], "end_factor=-1 is out of range"),
        (["scheduler.total_iters=-1"], "scheduler.total_iters=-1 is out of range"),
        (["scheduler.factor=0"], "scheduler.factor=0 is out of range"),
        (["scheduler=stages", "scheduler.gamma=-1"], "scheduler.gamma=-1 is out of range"),
        (["scheduler=plateau", "scheduler.factor=0"], "scheduler.factor=0 is out of range"),
        (["scheduler=plateau", "scheduler.patience=-1"], "scheduler.patience=-1 is out of range"),
        (["scheduler=plateau", "scheduler.min_lr=-1"], "scheduler.min_lr=-1 is out of range"),
        (["optimizer.lr=0"], "optimizer.lr=0 is out of range: it must be a finite number above 0"),
        (["optimizer.lr=-1"], "optimizer.lr=-1 is out of range"),
        (["optimizer.lr=inf"], "optimizer.lr=inf is out of range"),
        (["optimizer=sgd", "optimizer.momentum=1"], "it must be at least 0 and below 1"),
        (["scheduler=cosine", "scheduler.interval=batch"], "scheduler.interval=batch should be"),
        (["scheduler=plateau", "scheduler.interval=step"], "set scheduler.interval=epoch"),
        (["scheduler=plateau", "data.val_size=0"], "scheduler=plateau needs validation images"),
        (["scheduler=plateau", "+trainer.limit_val_batches=0"], "trainer.limit_val_batches=0"),
        (["scheduler=plateau", "trainer.check_val_every_n_epoch=2"], "n_epoch=1"),
    ],
)
def test_a_schedule_that_does_not_fit_the_run_is_refused(
    overrides: list[str], message: str
) -> None:
    settings = [*DIGITS, "callbacks=progress_bar", *overrides, "paths.run_dir=unused"]
    with pytest.raises(ConfigError) as error:
        build(to_container(compose("train", settings)))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_argument_that_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^scheduler\.step_size is missing: StepLR needs it$"):
        make_scheduler(scheduler_node(lr_scheduler.StepLR), 10)
