import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from conftest import run_python
from tiny import options
from vae_lightning.config import CONF_DIR, check_node, compose, instantiate, nearest, to_container
from vae_lightning.errors import ConfigError
from vae_lightning.networks import MLPDecoder
from vae_lightning.objectives import ELBO
from vae_lightning.searching.space import parse_space

COMMANDS = sorted(path.stem for path in CONF_DIR.glob("*.yaml"))
OPTIONS = sorted(path.relative_to(CONF_DIR).with_suffix("") for path in CONF_DIR.rglob("*/*.yaml"))
# Devices and packages that the machine of a test need not have.
ELSEWHERE = {"trainer/gpu", "trainer/mps"}
ELSEWHERE |= {f"logger/{name}" for name in ("wandb", "mlflow") if find_spec(name) is None}


def compose_plain(command: str, *overrides: str) -> dict[str, Any]:
    return to_container(compose(command, [*overrides, "++paths.run_dir=unused"]))


def check_all(config: dict[str, Any]) -> None:
    for key, node in config.items():
        # How often a schedule steps is the Trainer's, and no argument of its class.
        own = ("interval",) if key == "scheduler" else ()
        check_node({k: v for k, v in node.items() if k not in own} if own else node, key)


# -- the folder conf/ -----------------------------------------------------------------------------


def test_the_folder_has_the_groups_that_the_documents_speak_of() -> None:
    groups = {str(option.parent) for option in OPTIONS}
    parts = {f"model/{part}" for part in ("encoder", "posterior", "prior", "decoder", "likelihood")}
    assert groups >= parts | {
        "callbacks",
        "data",
        "debug",
        "experiment",
        "hparams_search",
        "hydra",
        "logger",
        "model",
        "objective",
        "optimizer",
        "paths",
        "scheduler",
        "trainer",
    }


# What an option cannot do without.
PARTNERS = {
    "model/posterior/deterministic": ["objective=mmd"],
    "model/posterior/relaxed_categorical": ["model/prior=uniform_categorical"],
    "model/posterior/von_mises_fisher": ["model/prior=uniform_sphere"],
    "model/prior/uniform_categorical": ["model/posterior=relaxed_categorical"],
    "model/prior/uniform_sphere": ["model/posterior=von_mises_fisher"],
    "objective/autoencoder": ["model/posterior=deterministic"],
}
# Callbacks that are added to the default ones.
ADDED = ("early_stopping", "averaged_weights", "debug")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_s_configuration_composes_and_its_targets_are_there(command: str) -> None:
    check_all(compose_plain(command))


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_an_option_can_be_chosen_and_builds_what_it_describes(option: Path, tmp_path: Path) -> None:
    group, name = str(option.parent), option.name
    together = list(PARTNERS.get(str(option), []))
    if name == "image_folder":
        for number in range(20):
            Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
        together.append(f"data.root={tmp_path}")
    if name == "arrays":
        np.save(tmp_path / "images.npy", np.zeros((20, 8, 8), np.uint8))
        together.append(f"data.path={tmp_path / 'images.npy'}")
    choice = f"[default,{name}]" if name in ADDED else name
    overrides = [f"{group}={choice}", *together, "paths.run_dir=unused"]
    command = "generate" if group == "mode" or name == "on_checkpoint" else "train"
    command = "search" if group == "search" else command
    composed = compose(command, overrides, with_hydra=True)
    if name in ADDED:  # Hydra notes no choice that is a list
        assert "_target_" in composed.callbacks[name]
    else:
        assert composed.hydra.runtime.choices[group] == name
    OmegaConf.set_struct(composed, False)
    composed.pop("hydra")
    config = to_container(composed)
    if command == "search":
        options = config.pop("search")
        assert name == "default" or parse_space(options["space"])
    check_all(config)
    if command == "generate":
        instantiate(config["mode"], "mode")
        return
    if str(option) in ELSEWHERE:
        return
    if not torch.cuda.is_available() and config["trainer"]["accelerator"] == "auto":
        config["trainer"]["accelerator"] = "cpu"
    from vae_lightning.training.build import build

    build(config)


def _choices_in(defaults: Any) -> Iterator[str]:
    for entry in defaults or []:
        values = entry.values() if isinstance(entry, dict) else [entry]
        yield from (str(value) for value in values if value is not None)


@pytest.mark.parametrize("name", options("data"))
def test_validation_images_are_held_out_of_training_and_never_test_images(name: str) -> None:
    # Only the experiments that reproduce scripts without a validation set look at the test split.
    data = compose("train", [f"data={name}", "paths.run_dir=unused"]).data
    assert data.validation == "split"
    assert data.val_size is None or data.val_size > 0


@pytest.mark.parametrize("name", ["checkpoint", "early_stopping"])
def test_what_is_best_is_judged_by_the_bound_whatever_is_trained(name: str) -> None:
    overrides = ["callbacks=[default,early_stopping]", "objective=mmd", "paths.run_dir=unused"]
    callback = compose("train", overrides).callbacks[name]
    assert (callback.monitor, callback.mode) == ("val/elbo", "max")


def test_callbacks_add_up() -> None:
    callbacks = compose_plain("train", f"callbacks=[default,{','.join(ADDED)}]")["callbacks"]
    assert callbacks.keys() == compose_plain("train")["callbacks"].keys() | set(ADDED)


def test_no_option_lies_below_its_group_s_folder() -> None:
    # Hydra would put `callbacks/more/pictures` at callbacks.more, where nothing looks for it.
    for path in CONF_DIR.rglob("*.yaml"):
        content = OmegaConf.to_container(OmegaConf.load(path))
        assert isinstance(content, dict)
        for choice in _choices_in(content.get("defaults")):
            assert "/" not in choice, f"{path}: {choice}"


# -- what may be built ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "subprocess.Popen",
        "pathlib.Path",
        "torch.nn.Linear",
        "torch.load",
        # Allowed packages lead to whatever they import.
        "vae_lightning.config.composition.Path",
        "vae_lightning.config.types.types.FunctionType",
        "vae_lightning.checkpoint.torch.load",
        "vae_lightning.checkpoint.torch.nn.Linear",
        "vae_lightning.cli.command.os.system",
        "lightning.pytorch.trainer.call.signal.signal",
        "torch.optim.optimizer.functools.partial",
        # Allowed, but not classes, or not there.
        "vae_lightning.checkpoint.load",
        "vae_lightning.networks",
        "vae_lightning.networks.Transformer",
        "vae_lightning",
        "",
    ],
)
def test_a_target_that_is_no_class_of_an_allowed_package_is_refused(target: str) -> None:
    for node in ({"_target_": target}, {"_target_": target, "_partial_": True}):
        with pytest.raises(ConfigError, match=r"model\._target_=") as error:
            instantiate(node, "model")
        assert len(str(error.value).splitlines()) == 1


def test_a_package_whose_name_only_starts_like_an_allowed_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vae_lightning_extras.py").write_text("class Model: pass")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="may not be built from a configuration"):
        instantiate({"_target_": "vae_lightning_extras.Model"}, "model")


def test_a_target_inside_an_argument_is_checked_like_the_outermost_one() -> None:
    inner = {"_target_": "subprocess.Popen", "args": "true"}
    for value in (inner, [inner], {"deep": [inner]}):
        node = {
            "_target_": "vae_lightning.callbacks.Pictures",
            "dirpath": "unused",
            "max_files": 1,
            "drawings": value,
        }
        with pytest.raises(ConfigError, match=r"callbacks\.drawings.*subprocess\.Popen"):
            instantiate(node, "callbacks")


def test_a_good_node_is_built_with_its_arguments() -> None:
    node = {
        "_target_": "vae_lightning.objectives.ELBO",
        "num_samples": 3,
        "beta": 2,
        "schedule": {"_target_": "vae_lightning.objectives.schedules.Constant"},
        "free_bits": 0.0,
    }
    objective = instantiate(node, "objective")
    assert isinstance(objective, ELBO)
    assert (objective.num_samples, objective.beta) == (3, 2)


def test_a_partial_node_is_built_when_it_is_called() -> None:
    node = {
        "_target_": "vae_lightning.networks.MLPDecoder",
        "_partial_": True,
        "hidden": [5],
        "activation": "relu",
        "batch_norm": False,
    }
    decoder = instantiate(node, "decoder")(latent_dim=2)
    assert isinstance(decoder, MLPDecoder)
    assert decoder.layers[0].weight.shape == (5, 2)


def test_checking_builds_nothing() -> None:
    # Building it would refuse the value.
    check_node(
        {
            "_target_": "vae_lightning.objectives.ELBO",
            "num_samples": 0,
            "beta": 1.0,
            "schedule": {"_target_": "vae_lightning.objectives.schedules.Constant"},
            "free_bits": 0.0,
        },
        "x",
    )


# -- what is wrong with it ------------------------------------------------------------------------

ELBO_NODE = {
    "_target_": "vae_lightning.objectives.ELBO",
    "num_samples": 1,
    "beta": 1.0,
    "schedule": {"_target_": "vae_lightning.objectives.schedules.Constant"},
    "free_bits": 0.0,
}
ENCODER_NODE = {
    "_target_": "vae_lightning.networks.MLPEncoder",
    "image_shape": [1, 2, 2],
    "hidden": [3],
    "activation": "relu",
    "batch_norm": False,
    "input_range": [0, 1],
}


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (
            {**ELBO_NODE, "beat": 2.0},
            "part.beat is not an option of ELBO: did you mean beta?",
        ),
        (
            {**ELBO_NODE, "zzz": 2.0},
            "part.zzz is not an option of ELBO: there are: beta, free_bits, num_samples, schedule",
        ),
        ({**ELBO_NODE, "num_samples": 1.5}, "part.num_samples=1.5 should be a whole number"),
        ({**ELBO_NODE, "num_samples": True}, "part.num_samples=True should be a whole number"),
        ({**ELBO_NODE, "num_samples": "1"}, "part.num_samples=1 should be a whole number"),
        ({**ELBO_NODE, "num_samples": None}, "part.num_samples=None should be a whole number"),
        ({**ELBO_NODE, "num_samples": [1]}, "part.num_samples=[1] should be a whole number"),
        ({**ELBO_NODE, "beta": "one"}, "part.beta=one should be a number"),
        ({**ELBO_NODE, "beta": False}, "part.beta=False should be a number"),
        (
            {**ENCODER_NODE, "hidden": 3},
            "part.hidden=3 should be a list, each item a whole number",
        ),
        (
            {**ENCODER_NODE, "hidden": ["3"]},
            "part.hidden=['3'] should be a list, each item a whole number",
        ),
        (
            {**ENCODER_NODE, "activation": "rleu"},
            "part.activation=rleu should be one of elu, gelu, leaky_relu, relu, silu, softplus, "
            "tanh, gated",
        ),
        (
            {key: value for key, value in ELBO_NODE.items() if key != "beta"},
            "part.beta is missing: ELBO needs it",
        ),
        (
            {**ELBO_NODE, "num_samples": 0},
            "part.num_samples=0 is out of range: it must be at least 1",
        ),
        (
            {**ELBO_NODE, "beta": float("nan")},
            "part.beta=nan is out of range: it must be at least 0",
        ),
    ],
)
def test_a_wrong_argument_is_named_with_what_would_be_right(
    node: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(expected)}$"):
        instantiate(node, "part")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("optimizer.lr=fast", "optimizer.lr=fast should be a number"),
        (
            "optimizer.betas=[0.9]",
            "optimizer.betas=[0.9] should be a list of 2: a number, a number",
        ),
        (
            "optimizer.betas=[low,high]",
            "optimizer.betas=['low', 'high'] should be a list of 2: a number, a number",
        ),
    ],
)
def test_what_a_library_would_choke_on_is_named_with_what_would_be_right(
    override: str, expected: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(expected)}$"):
        instantiate(compose_plain("train", override)["optimizer"], "optimizer")


def test_a_whole_number_will_do_for_a_number() -> None:
    assert instantiate({**ELBO_NODE, "beta": 4}, "part").beta == 4


def test_a_wrong_argument_of_a_part_is_named_by_its_whole_path() -> None:
    with pytest.raises(ConfigError, match=r"^model\.encoder\.hidden=\[0\] is out of range"):
        instantiate(compose_plain("train", "model.encoder.hidden=[0]")["model"], "model")
    with pytest.raises(ConfigError, match=r"^model\.decoder\.hidden=5 should be a list"):
        instantiate(compose_plain("train", "model.decoder.hidden=5")["model"], "model")


def test_an_interpolation_that_leads_nowhere_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="no_such_key") as error:
        to_container(compose("train", ["task_name=${no_such_key}", "paths.run_dir=unused"]))
    assert len(str(error.value).splitlines()) == 1


def test_a_misspelt_name_is_answered_with_the_nearest_or_with_all() -> None:
    assert nearest("latent_dmi", ["latent_dim", "image_shape"]) == "did you mean latent_dim?"
    assert nearest("qqq", ["b", "a"]) == "there are: a, b"
    assert nearest("qqq", ["b", "a"], listed=["d", "c"]) == "there are: c, d"


# -- what is loaded -------------------------------------------------------------------------------

HEAVY = {"torch", "lightning"}


def test_importing_the_package_or_a_command_loads_neither_torch_nor_lightning(
    tmp_path: Path,
) -> None:
    modules = ["vae_lightning", "vae_lightning.config", "vae_lightning.cli.command"]
    modules += ["vae_lightning.__main__"]
    modules += [f"vae_lightning.{command}" for command in COMMANDS]
    lines = [
        f"import {name}; print('{name}', sorted({HEAVY} & set(sys.modules)))" for name in modules
    ]
    process = run_python("-c", "\n".join(["import sys", *lines]), cwd=tmp_path)
    assert process.stdout.splitlines() == [f"{name} []" for name in modules], process.stderr


@pytest.mark.parametrize(
    ("command", "flags", "expected"),
    [
        *((command, ["--help"], "\nFlags\n") for command in COMMANDS),
        ("train", ["--help", "model"], "model.latent_dim=20"),
        ("__main__", ["train", "--version"], "vae_lightning 0"),
        ("train", ["--cfg", "job"], "output_dir: outputs"),
    ],
)
def test_asking_a_command_for_help_loads_neither_torch_nor_lightning(
    tmp_path: Path, command: str, flags: list[str], expected: str
) -> None:
    process = run_python("-X", "importtime", "-m", f"vae_lightning.{command}", *flags, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert expected in process.stdout
    loaded = {line.rpartition("|")[2].strip() for line in process.stderr.splitlines()}
    assert "argparse" in loaded
    assert not loaded & HEAVY
    assert list(tmp_path.iterdir()) == []
