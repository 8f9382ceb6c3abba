"""Wrong values are refused in one line; bugs are tracebacks."""

import copy
import math
import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from option_grid import small
from tiny import composed_model, options
from vae_lightning.config import compose, instantiate, to_container
from vae_lightning.config.compatibility import check_precision, check_together
from vae_lightning.errors import ConfigError
from vae_lightning.training.scheduling import check_steps, make_optimizer, make_scheduler

MODEL_GROUPS = ("encoder", "decoder", "posterior", "prior", "likelihood")
OPTIONS = [
    (f"{group}={name}", group)
    for group in (
        "model",
        *(f"model/{part}" for part in MODEL_GROUPS),
        "objective",
        "optimizer",
        "scheduler",
    )
    for name in options(group)
]
WRONG: tuple[Any, ...] = (-1, 0, 1.5, math.nan, math.inf, "x", None, [], [0], [-1])


def leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of the keys below a node that have plain values."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        elif not key.startswith("_") and key != "image_shape":
            yield (*path, key)


def build(config: Any, group: str) -> None:
    """Build and use what a group describes, as `train` does before anything is written."""
    if group in ("optimizer", "scheduler"):
        optimizer = make_optimizer(config["optimizer"])(nn.Linear(1, 1).parameters())
        check_steps(make_scheduler(config["scheduler"], 10)(optimizer))
        return
    objective = instantiate(config["objective"], "objective")
    check_together(instantiate(config["model"], "model"), objective)


@pytest.mark.parametrize(("option", "group"), OPTIONS, ids=[option for option, _ in OPTIONS])
def test_a_wrong_value_of_any_key_is_refused_in_one_line_or_works(option: str, group: str) -> None:
    config = small(to_container(compose("train", ["data=digits", option, "paths.run_dir=x"])))
    section = config
    for key in group.split("/"):
        section = section[key]
    for path in leaves(section, tuple(group.split("/"))):
        for value in WRONG:
            changed = copy.deepcopy(config)
            parent = changed
            for key in path[:-1]:
                parent = parent[key]
            parent[path[-1]] = value
            try:
                build(changed, group)
            except ConfigError as error:
                assert len(str(error).splitlines()) == 1, (path, value)


class Broken(nn.Module):
    """A part with the bug that its argument names."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        if bug == "KeyError":
            _ = os.environ["VAE_LIGHTNING_MISSING"]
        elif bug == "AttributeError":
            _ = bug.missing  # type: ignore[attr-defined]
        elif bug == "RuntimeError":
            torch.ones(2, 3) @ torch.ones(2, 3)
        elif bug == "ValueError of a library":
            torch.distributions.Normal(torch.tensor(math.nan), 1.0)
        elif bug == "refused":
            raise ValueError(f"bug={bug} is out of range")


@pytest.mark.parametrize(
    ("bug", "expected"),
    [
        ("KeyError", KeyError),
        ("AttributeError", AttributeError),
        ("RuntimeError", RuntimeError),
        ("ValueError of a library", ValueError),
        ("refused", ConfigError),
    ],
)
def test_a_bug_in_a_part_stays_a_traceback_and_a_refusal_is_a_line(
    bug: str, expected: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAE_LIGHTNING_PACKAGES", __name__)
    node = {"_target_": f"{__name__}.Broken", "bug": bug}
    with pytest.raises(expected) as error:
        instantiate(node, "model")
    assert type(error.value) is expected
    if expected is ConfigError:
        assert str(error.value) == "model.bug=refused is out of range"


@pytest.mark.parametrize("error", [ValueError, RuntimeError, KeyError])
def test_a_bug_in_the_trial_of_a_model_and_its_objective_stays_a_traceback(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any, **kwargs: Any) -> None:
        raise error("a bug")

    model = composed_model("data=digits")
    monkeypatch.setattr(type(model), "forward", fails)
    objective = instantiate(to_container(compose("train")["objective"]), "objective")
    with pytest.raises(error, match="a bug"):
        check_together(model, objective)


def test_a_step_that_does_not_fit_in_memory_is_refused_in_one_line() -> None:
    config = to_container(compose("train", ["data=digits", "paths.run_dir=x"]))
    config["objective"]["num_samples"] = 10**12
    with pytest.raises(ConfigError, match="memory"):
        build(config, "objective")


@pytest.mark.parametrize("precision", ["bf16-true", "16-true"])
def test_a_model_whose_parts_need_float32_is_refused_in_half_precision(precision: str) -> None:
    check_precision(composed_model("data=digits"), precision, "precision")
    parts = ("model/posterior=von_mises_fisher", "model/prior=uniform_sphere")
    model = composed_model("data=digits", *parts)
    check_precision(model, "32-true", "precision")
    mixed = precision.replace("true", "mixed")
    with pytest.raises(ConfigError, match=f"choose precision={mixed}, or precision=32-true$"):
        check_precision(model, precision, "precision")
    assert next(model.parameters()).dtype is torch.float32


@pytest.mark.parametrize("posterior", options("model/posterior"))
def test_every_posterior_trains_in_mixed_precision(posterior: str) -> None:
    priors = {"von_mises_fisher": "uniform_sphere", "relaxed_categorical": "uniform_categorical"}
    prior = f"model/prior={priors.get(posterior, 'mixture')}"
    model = composed_model("data=digits", f"model/posterior={posterior}", prior)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        trace = model(torch.rand(4, *model.image_shape), 2)
        loss = trace.distortion.mean()
        if posterior != "deterministic":
            loss = loss + trace.rate.mean()
    loss.backward()
    for weight in model.decoder.parameters():
        assert weight.grad is not None
        assert torch.isfinite(weight.grad).all()
