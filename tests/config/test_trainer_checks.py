"""Arguments of the Trainer that cannot work are refused in one line, before training."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy, StrategyRegistry

from conftest import DIGITS, MINIMAL
from tiny import tiny_data, tiny_module, tiny_trainer
from vae_lightning.config import compose, to_container
from vae_lightning.config.trainer_checks import check_built, check_trainer
from vae_lightning.errors import ConfigError
from vae_lightning.training.build import build


def built(*overrides: str) -> Any:
    return build(to_container(compose("train", [*DIGITS, *overrides, "paths.run_dir=unused"])))


@pytest.mark.parametrize("name", StrategyRegistry.available_strategies())
def test_only_strategies_whose_processes_run_the_command_again_are_taken(name: str) -> None:
    if name in ("ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false"):
        check_trainer({"strategy": name})
        return
    with pytest.raises(ConfigError, match=rf"^trainer\.strategy={name} is not .* trainer=ddp"):
        check_trainer({"strategy": name})


def test_a_strategy_that_copies_the_process_is_refused_under_any_name(tmp_path: Path) -> None:
    for method in ("spawn", "fork"):
        strategy: Any = DDPStrategy(start_method=method)
        trainer = tiny_trainer(tmp_path, strategy=strategy, devices=2)
        with pytest.raises(ConfigError, match=r"write trainer=ddp"):
            check_built(trainer, torch.optim.SGD([torch.zeros(1)]))
    built(*MINIMAL, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["trainer.strategy=ddp_spwan"], "does not exist: did you mean ddp_spawn?"),
        (["+trainer.accumulate_grad_batches=0"], "accumulate_grad_batches=0 is out of range"),
        (["trainer.check_val_every_n_epoch=0"], "check_val_every_n_epoch=0 is out of range"),
        (["trainer.gradient_clip_val=-1.0"], "gradient_clip_val=-1.0 is out of range"),
        (["trainer.log_every_n_steps=0"], "log_every_n_steps=0 is out of range: at least 1"),
        (["+trainer.val_check_interval=0"], "val_check_interval=0 is out of range"),
        (["+trainer.limit_train_batches=0"], "limit_train_batches=0 trains nothing"),
        (["+trainer.limit_train_batches=0.0"], "limit_train_batches=0 trains nothing"),
        (["trainer.max_epochs=0"], "max_epochs=0 trains nothing"),
        (["+trainer.max_steps=0"], "max_steps=0 trains nothing"),
        (["+trainer.limit_test_batches=0"], "set test=false"),
        (["+trainer.min_epochs=11"], "min_epochs=11 is more than trainer.max_epochs=10"),
        (["trainer.num_sanity_val_steps=-2"], "num_sanity_val_steps=-2 is out of range"),
        (["trainer.devices=9999"], "trainer.devices=9999 would start as many processes"),
        (["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=9999"], "this machine has"),
        (["+trainer.num_nodes=2"], "num_nodes=2 waits for other machines"),
        (["callbacks.checkpoint.mode=min"], "set callbacks.checkpoint.mode=max"),
        (
            ["callbacks.checkpoint.monitor=val/loss"], "set callbacks.checkpoint.mode=min"
        ),
        (["scheduler=plateau", "scheduler.mode=min"], "set scheduler.mode=max"),
        (
            ["callbacks=[default,early_stopping]", "callbacks.early_stopping.patience=-1"],
            "callbacks.early_stopping.patience=-1 is out of range",
        ),
        (["callbacks.checkpoint.filename=a/../../../b"], "should be the name of a file"),
        (["callbacks.checkpoint.filename=a/b"], "should be the name of a file"),
        (["callbacks.checkpoint.filename=.."], "should be the name of a file"),
        (["callbacks.checkpoint.filename=''"], "should be the name of a file"),
        (["callbacks.checkpoint.filename=last"], "is the file of the last epoch"),
        (["model/likelihood=categorical", "data.binarize=dynamic"], "choose data.binarize=none"),
        (
            ["model/likelihood=discretized_logistic", "data.binarize=threshold"],
            "or model/likelihood=bernoulli",
        ),
        (["+trainer.logger=true"], "trainer.logger has no effect: choose an option of logger"),
        (["+trainer.barebones=true"], "barebones"),
        (["+trainer.limit_val_batches=0"], "set callbacks.checkpoint.monitor=null"),
        (["data.val_size=0"], "set callbacks.checkpoint.monitor=null"),
        (
            ["+trainer.limit_val_batches=0", "callbacks=[progress_bar,early_stopping]",
             "+callbacks.checkpoint=null"],
            "set callbacks.early_stopping=null",
        ),
    ],
)  # fmt: skip
def test_arguments_that_cannot_work_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        built(*overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_run_without_validation_keeps_its_last_epoch() -> None:
    built(*MINIMAL, "+trainer.limit_val_batches=0", "callbacks.checkpoint.monitor=null")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"val_check_interval": 50}, "is more than the 3 batches of an epoch"),
        ({"val_check_interval": 3, "limit_train_batches": 2}, "more than the 2 batches"),
        ({"limit_train_batches": 0.1}, "trainer.limit_train_batches=0.1 of 3 train batches"),
        ({"limit_val_batches": 0.1}, "trainer.limit_val_batches=0.1 of 2 val batches"),
        # Lightning would find it after training.
        ({"limit_test_batches": 0.1}, "trainer.limit_test_batches=0.1 of 3 test batches"),
        ({"overfit_batches": 0.1}, "trainer.overfit_batches=0.1 of 3 train batches"),
    ],
)
def test_limits_that_leave_no_batch_are_refused_before_the_first_step(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    trainer = tiny_trainer(tmp_path, **arguments)
    with pytest.raises(ConfigError) as error:
        trainer.fit(tiny_module(), tiny_data())
    assert message in str(error.value)
    assert trainer.global_step == 0


@pytest.mark.parametrize(
    "arguments",
    [
        {"val_check_interval": 3},
        {"val_check_interval": 0.5},
        {"val_check_interval": 5, "check_val_every_n_epoch": None, "max_epochs": 2},
        {"limit_val_batches": 0, "val_check_interval": 50},
        {"limit_test_batches": 0.5},
        {"overfit_batches": 2},
        {"accumulate_grad_batches": 50},
        {"detect_anomaly": True},
        {"inference_mode": False},
        {"reload_dataloaders_every_n_epochs": 1, "max_epochs": 2},
        {"use_distributed_sampler": False},
        {"min_epochs": 2, "max_epochs": 2},
        {"num_sanity_val_steps": 2},
        {"max_epochs": -1, "max_steps": 4},
    ],
)
def test_arguments_that_work_are_taken(tmp_path: Path, arguments: dict[str, Any]) -> None:
    module, data = tiny_module(), tiny_data()
    trainer = tiny_trainer(tmp_path, **arguments)
    trainer.fit(module, data)
    assert trainer.global_step > 0
    (metrics,) = trainer.test(module, data, verbose=False)
    assert metrics["test/elbo"] < 0


@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed"])
def test_gradients_that_a_fused_optimiser_unscales_cannot_be_clipped(precision: str) -> None:
    # Half precision with a scaled loss needs a GPU.
    launcher = SimpleNamespace(launcher=None)
    trainer: Any = SimpleNamespace(strategy=launcher, gradient_clip_val=1.0, precision=precision)
    weight = torch.nn.Parameter(torch.zeros(1))
    check_built(trainer, torch.optim.Adam([weight]))
    with pytest.raises(ConfigError, match=r"choose optimizer\.fused=false$"):
        check_built(trainer, torch.optim.Adam([weight], fused=True))


def test_torchrun_has_to_start_as_many_processes_as_the_trainer_has_devices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"^torchrun has started 2 .*trainer.devices=1 is for 1"):
        built(*MINIMAL)
