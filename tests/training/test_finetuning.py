"""Runs that start from trained weights (`init_from`), and runs with frozen parts (`freeze`)."""

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback
from torch import Tensor, nn

from conftest import CallCommand, read_metrics
from tiny import SMALL_CODES, composed_model, small_codes, tiny_data, tiny_module, tiny_trainer
from untrained import write_checkpoint
from vae_lightning.checkpoint import Checkpoint
from vae_lightning.config import compose, to_container
from vae_lightning.errors import CheckpointError, ConfigError
from vae_lightning.networks.layers import BatchNorm
from vae_lightning.training.build import Run, build
from vae_lightning.training.module import VAEModule

LEGACY = Path(__file__).parents[1] / "legacy"

# Some hundred weights, and 13 batches in an epoch.
SMALL = (
    "data=digits", "data.size=8", "data.batch_size=105", "trainer=cpu", "trainer.max_epochs=1",
    "callbacks=minimal", "logger=none", "optimizer.lr=0.01", "model.latent_dim=3",
    "model.encoder.hidden=[8]", "model.decoder.hidden=[8]",
)  # fmt: skip
CODES = (*SMALL_CODES, "data=digits", "trainer=cpu", "callbacks=minimal", "logger=none")


@cache
def config_of(*overrides: str) -> dict[str, Any]:
    return to_container(compose("train", [*overrides, "paths.run_dir=unused"]))


def run_of(folder: Path, *overrides: str, **options: Any) -> Run:
    # Another network has other keys.
    others = tuple(f"{item.partition('=')[0]}." for item in overrides if "model/" in item)
    small = [item for item in SMALL if not item.replace("model.", "model/", 1).startswith(others)]
    config = deepcopy(config_of(*small, *overrides)) | options
    config["callbacks"]["checkpoint"]["dirpath"] = str(folder / "checkpoints")
    config["paths"]["run_dir"] = str(folder)
    return build(config)


def trained(folder: Path, *overrides: str) -> Path:
    """A checkpoint with other weights than those that a run of the same settings starts with."""
    return write_checkpoint(folder / "checkpoints" / "best.ckpt", *SMALL, *overrides, scale=1.5)


def weights(model: nn.Module, *parts: str) -> dict[str, Tensor]:
    """Copies of the weights and buffers of some parts, by default of all."""
    return {
        name: value.clone()
        for name, value in model.state_dict().items()
        if not parts or name.startswith(parts)
    }


def assert_same(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Equal to the last bit."""
    assert got
    assert got.keys() == expected.keys()
    assert [name for name in got if not torch.equal(got[name], expected[name])] == []


def stored(checkpoint: Path) -> dict[str, Tensor]:
    return weights(Checkpoint(checkpoint).model())


class AtStart(Callback):
    """Keeps the weights that the first step is taken with."""

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 0:
            self.weights = weights(pl_module.model)


def fitted(run: Run) -> dict[str, Tensor]:
    """Train, and return the weights that the first step was taken with."""
    start = AtStart()
    run.trainer.callbacks.append(start)  # type: ignore[attr-defined]
    run.fit()
    return start.weights


# -- init_from ------------------------------------------------------------------------------------


def test_a_run_starts_with_the_weights_of_the_file_whatever_the_images_and_the_optimiser(
    tmp_path: Path,
) -> None:
    mean = "model.likelihood.start_at_mean=true"
    file = trained(tmp_path, mean)
    write_checkpoint(file.with_name("last.ckpt"), *SMALL, mean, scale=0.5)
    run = run_of(
        tmp_path / "run", mean, "optimizer=sgd", "objective=geco", "data.binarize=dynamic",
        init_from=str(tmp_path),
    )  # fmt: skip
    assert_same(fitted(run), stored(file))


def test_only_the_weights_are_taken_so_that_a_file_of_its_own_weights_changes_nothing(
    tmp_path: Path,
) -> None:
    straight = run_of(tmp_path / "straight", "trainer.max_epochs=2")
    own = {f"model.{name}": value for name, value in weights(straight.module.model).items()}
    file = trained(tmp_path)
    torch.save(Checkpoint(file).content | {"state_dict": own, "epoch": 7, "global_step": 99}, file)
    started = run_of(tmp_path / "started", "trainer.max_epochs=2", init_from=str(file))
    for run in (straight, started):
        run.fit()
    assert_same(weights(started.module.model), weights(straight.module.model))


def test_a_part_of_another_class_starts_as_in_any_run_and_from_the_images(tmp_path: Path) -> None:
    file = trained(tmp_path)
    vamp = ("model/prior=vamp", "model.prior.num_components=7")
    run = run_of(tmp_path / "run", *vamp, init_from=str(file))
    assert run.initial
    assert str(run.initial) == "encoder, posterior, decoder, likelihood; new: prior"
    start = fitted(run)
    others = ("encoder", "posterior", "decoder", "likelihood")
    assert_same({k: v for k, v in start.items() if k.startswith(others)}, stored(file))
    images, _ = run.datamodule.images("train", 7)
    pseudo_inputs = start["prior.logits"].sigmoid()
    torch.testing.assert_close(pseudo_inputs, images.clamp(0.01, 0.99))


def test_pseudo_inputs_that_are_taken_are_not_set_to_the_images(tmp_path: Path) -> None:
    vamp = ("model/prior=vamp", "model.prior.num_components=7")
    file = trained(tmp_path, *vamp)
    assert_same(fitted(run_of(tmp_path / "run", *vamp, init_from=str(file))), stored(file))


def test_an_objective_is_told_the_number_of_its_own_images(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "objective=total_correlation", init_from=str(trained(tmp_path)))
    run.fit()
    assert run.module.objective.num_images == run.datamodule.num_images["train"]


def test_settings_that_differ_without_other_shapes_are_told(tmp_path: Path) -> None:
    run = run_of(
        tmp_path / "run", "model.encoder.activation=gelu", init_from=str(trained(tmp_path))
    )
    assert str(run.initial).endswith("; with: model.encoder.activation=gelu (was relu)")


def test_what_follows_from_another_class_starts_anew_with_it(tmp_path: Path) -> None:
    run = run_of(
        tmp_path / "run", "model/decoder=conv", "model.decoder.channels=[4]",
        init_from=str(trained(tmp_path)),
    )  # fmt: skip
    assert str(run.initial) == "encoder, posterior; new: decoder, likelihood"


def test_layers_of_a_hierarchical_model_and_codes_are_parts(tmp_path: Path) -> None:
    small = [item for item in SMALL if "latent_dim=" not in item]
    layers = (*small, "model=hierarchical", "model.latent_dims=[4,2]")
    file = write_checkpoint(tmp_path / "layers.ckpt", *layers, scale=1.5)
    config = deepcopy(config_of(*layers, "model/posterior@model.conditional=full_normal"))
    run = build(config | {"init_from": str(file)})
    assert run.initial
    assert run.initial.new == ["conditionals"]
    assert "posteriors" in run.initial.taken
    file = write_checkpoint(tmp_path / "codes.ckpt", *CODES)
    run = build(deepcopy(config_of(*CODES)) | {"init_from": str(file)})
    assert str(run.initial) == "codebook, encoder, project, prior, decoder, likelihood"


MISMATCHES = {
    "model.latent_dim=2": (
        "posterior.head.weight is (6, 8) there, (4, 8) here; "
        "decoder.layers.0.weight is (8, 3) there, (8, 2) here: set model.latent_dim=3"
    ),
    "model.encoder.hidden=[9] model.initialization=glorot_uniform": (
        "encoder.layers.0.weight is (8, 64) there, (9, 64) here; "
        "posterior.head.weight is (6, 8) there, (6, 9) here: set model.encoder.hidden=[8]"
    ),
    "data.size=9": ": set data.channels=1 and data.size=8",
    "model=conditional": ": set model.num_classes=null",
    # Only the posterior's shapes are those of a setting.
    "model/decoder=conv model.decoder.channels=[4] model.latent_dim=2": (
        "this model: posterior.head.weight is (6, 8) there, (4, 8) here: set model.latent_dim=3"
    ),
    "model/encoder=conv model.encoder.channels=[4] model/decoder=conv model.decoder.channels=[4]"
    " model/posterior=flow model/likelihood=normal": (
        "has no weights for this model: none of encoder, posterior, decoder, likelihood fits a "
        "part of that VAE; leave out init_from to start anew"
    ),
}


@pytest.mark.parametrize("settings", MISMATCHES)
def test_weights_that_do_not_fit_are_named_with_what_would(tmp_path: Path, settings: str) -> None:
    file = trained(tmp_path)
    with pytest.raises(CheckpointError) as refusal:
        run_of(tmp_path / "run", *settings.split(), init_from=str(file))
    assert str(refusal.value).endswith(MISMATCHES[settings])
    assert str(refusal.value).startswith(str(file))
    assert "\n" not in str(refusal.value)


def test_a_weight_that_only_one_of_two_settings_has_is_named(tmp_path: Path) -> None:
    learned = ("model/likelihood=normal_learned", "model.likelihood.scale=learned")
    file = trained(tmp_path, *learned)
    with pytest.raises(CheckpointError, match=r"likelihood\.average is missing there: set mod"):
        run_of(tmp_path / "run", learned[0], "model.likelihood.scale=optimal", init_from=str(file))


def test_the_size_of_images_that_are_not_square_is_named_by_height_and_width(
    tmp_path: Path,
) -> None:
    file = trained(tmp_path, "data.size=[8,6]")
    with pytest.raises(CheckpointError, match=r"set data.channels=1 and data.size=\[8,6\]$"):
        run_of(tmp_path / "run", init_from=str(file))


def test_a_checkpoint_of_an_earlier_release_can_be_started_from(tmp_path: Path) -> None:
    file = LEGACY / "0.1.0" / "flows.ckpt"
    run = run_of(
        tmp_path, "model/posterior=flow", "model.posterior.transforms=2",
        "model.posterior.hidden=[6]", init_from=str(file),
    )  # fmt: skip
    assert str(run.initial) == "encoder, posterior, decoder, likelihood; new: prior"


# -- freeze ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_frozen_part_keeps_every_bit_and_the_others_learn(tmp_path: Path, precision: str) -> None:
    run = run_of(
        tmp_path, "freeze=[encoder,likelihood]", f"trainer.precision={precision}",
        "callbacks=[minimal,averaged_weights]", "optimizer=adamw", "optimizer.weight_decay=0.1",
        "model.encoder.batch_norm=true", "model.decoder.batch_norm=true", "trainer.max_epochs=2",
        "model/likelihood=normal_learned", "model.likelihood.scale=optimal",
    )  # fmt: skip
    start = fitted(run)
    model = run.module.model
    frozen = ("encoder", "likelihood")
    assert_same(weights(model, *frozen), {k: v for k, v in start.items() if k.startswith(frozen)})
    learnt = weights(model, "posterior", "decoder")
    assert [name for name, value in learnt.items() if torch.equal(value, start[name])] == []


def test_parameters_that_are_not_frozen_all_have_a_gradient_and_are_all_the_optimiser_has(
    tmp_path: Path,
) -> None:
    run = run_of(tmp_path, "freeze=[decoder,likelihood]", "model/prior=mixture")
    seen = {}

    class Look(Callback):
        def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
            (group,) = optimizer.param_groups
            names = {id(w): name for name, w in module.model.named_parameters()}
            seen["optimiser"] = [names[id(w)] for w in group["params"]]
            seen["gradients"] = [
                name for name, w in module.model.named_parameters() if w.grad is not None
            ]

    run.trainer.callbacks.append(Look())  # type: ignore[attr-defined]
    run.fit()
    expected = [
        name
        for name, _ in run.module.model.named_parameters()
        if name.startswith(("encoder", "posterior", "prior"))
    ]
    assert seen == {"optimiser": expected, "gradients": expected}


def test_frozen_codes_do_not_follow_and_the_encoder_learns(tmp_path: Path) -> None:
    model = small_codes()
    module = tiny_module(model, lr=0.01)
    again = VAEModule(
        model, module.objective, module.make_optimizer, module.make_scheduler, 0,
        frozen=["codebook"],
    )  # fmt: skip
    start = weights(model)
    tiny_trainer(tmp_path).fit(again, tiny_data(size=8))
    codes = weights(model, "codebook")
    assert_same(codes, {name: start[name] for name in codes})
    assert not torch.equal(
        model.state_dict()["encoder.layers.0.weight"], start["encoder.layers.0.weight"]
    )


def test_frozen_layers_are_in_evaluation_mode_after_validation_as_well(tmp_path: Path) -> None:
    model = composed_model(
        "data=digits", "paths.run_dir=unused", "data.size=4", "model.encoder.batch_norm=true",
        "model/posterior=relaxed_categorical", "model/prior=uniform_categorical",
    )  # fmt: skip
    base = tiny_module(model)
    module = VAEModule(
        model, base.objective, base.make_optimizer, base.make_scheduler, 0,
        frozen=["encoder", "posterior"],
    )  # fmt: skip
    modes = []

    class Look(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            (norm,) = (part for part in model.encoder.modules() if isinstance(part, BatchNorm))
            # The relaxation is of the samples, and gives the parts before them a gradient.
            modes.append((norm.training, model.posterior.training, model.decoder.training))

    tiny_trainer(tmp_path, Look(), max_epochs=2).fit(module, tiny_data())
    assert set(modes) == {(False, True, True)}


REFUSED = {
    "freeze=[encodr]": "VAE has no part encodr: did you mean encoder?",
    "freeze=[flow]": "there are: decoder, encoder, likelihood, posterior, prior",
    "freeze=[encoder,posterior,decoder,likelihood]": "leaves nothing to train: leave out one of",
    "freeze=encoder": "should be a list",
    "freeze=[encoder,posterior] model/posterior=deterministic objective=autoencoder": (
        "decoder_penalty=gradient needs the gradient of the codes"
    ),
}


@pytest.mark.parametrize("settings", REFUSED)
def test_what_cannot_be_frozen_is_refused_in_one_line(tmp_path: Path, settings: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        run_of(tmp_path, *settings.split())
    assert REFUSED[settings] in str(refusal.value)
    assert "\n" not in str(refusal.value)


# -- both, as a user runs them --------------------------------------------------------------------


def test_a_fine_tuned_run_is_reported_and_resumes_where_the_first_file_is_gone(
    call_command: CallCommand, tmp_path: Path
) -> None:
    file = trained(tmp_path / "first")
    options = (*SMALL, "init_from=first", "freeze=[encoder,posterior]")
    straight = call_command(*options, "trainer.max_epochs=2", "hydra.run.dir=straight")
    assert straight.status == 0, straight.err
    assert "starts from first/checkpoints/best.ckpt: encoder, posterior, decoder, likelihood\n" in (
        straight.out
    )
    assert "frozen: encoder, posterior; 608 of 1,182 parameters are trained" in straight.out
    assert "eval mode" not in straight.err
    metrics = read_metrics(tmp_path / "straight")
    assert (metrics["init_from"], metrics["freeze"]) == (str(file), ["encoder", "posterior"])

    assert call_command(*options, "hydra.run.dir=one").status == 0
    file.unlink()
    resumed = call_command(
        *options, "trainer.max_epochs=2", "ckpt_path=one", "hydra.run.dir=resumed"
    )
    assert resumed.status == 0, resumed.err
    assert "starts from" not in resumed.out
    assert read_metrics(tmp_path / "resumed")["init_from"] == str(file)
    last = [Checkpoint(tmp_path / folder, "last") for folder in ("resumed", "straight")]
    assert_same(*(one.content["state_dict"] for one in last))
    assert last[0].config["init_from"] == str(file)

    thawed = call_command(*SMALL, "trainer.max_epochs=2", "ckpt_path=one", "hydra.run.dir=thawed")
    assert "the optimiser starts anew: freeze was [encoder,posterior]" in thawed.out, thawed.err


def test_a_start_that_a_resumed_run_did_not_have_is_refused(tmp_path: Path) -> None:
    file = trained(tmp_path)
    with pytest.raises(ConfigError, match=r"init_from=.* has no effect"):
        run_of(tmp_path / "run", init_from=str(file), ckpt_path=str(file))
