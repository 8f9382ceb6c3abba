"""Each setting that a refusal of unfitting parts names leads to parts that fit."""

import copy
import itertools
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from omegaconf import OmegaConf

from advice import advice, changed
from option_grid import option
from tiny import options
from vae_lightning.config import instantiate
from vae_lightning.config.compatibility import check_together
from vae_lightning.errors import ConfigError
from vae_lightning.models import Model

# A change of one part may show that another one does not fit either.
MAX_CHANGES = 5

# Settings by key, as on a command line.
Settings = dict[str, Any]


def objectives() -> Iterator[Settings]:
    for name in options("objective"):
        yield {"objective": name}
    for gradient in ("dreg", "sticking_the_landing"):
        yield {"objective": "importance_weighted", "objective.gradient": gradient}
    yield {"objective": "importance_weighted", "objective.num_samples": 4, "objective.groups": 2}
    yield {
        "objective": "importance_weighted",
        "objective.num_samples": 4,
        "objective.encoder_groups": 2,
    }
    yield {"objective": "mmd", "objective.rate_weight": 0.5}


def models() -> Iterator[Settings]:
    posteriors, priors = options("model/posterior"), options("model/prior")
    pairs = [
        {"model/posterior": posterior, "model/prior": prior}
        for posterior, prior in itertools.product(posteriors, priors)
    ]
    for pair in pairs:
        yield {"model": "vae", **pair}
    for batch_norm in ("encoder", "decoder"):
        yield {"model": "vae", f"model.{batch_norm}.batch_norm": True, "model/prior": "vamp"}
    yield {
        "model": "vae",
        "model/posterior": "relaxed_categorical",
        "model/prior": "vamp",
        "model.posterior.temperature": 0.01,
    }
    yield {
        "model": "vae",
        "model/likelihood": "normal_learned",
        "model.likelihood.scale": "optimal",
    }
    yield {"model": "conditional"}
    yield {"model": "vector_quantized"}
    for inference, pair in itertools.product(("bottom_up", "top_down", "ladder"), pairs):
        if pair["model/prior"] in ("standard_normal", "vamp"):
            yield {"model": "hierarchical", "model.inference": inference, **pair}
    for inference, conditional in itertools.product(("top_down", "ladder"), posteriors):
        head = {"model/posterior@model.conditional": conditional}
        yield {"model": "hierarchical", "model.inference": inference, **head}
    for part in ("encoder", "inner"):
        yield {"model": "hierarchical", f"model.{part}.batch_norm": True, "model/prior": "vamp"}


def nodes(settings: Settings) -> tuple[Any, Any]:
    """The small model and objective that settings describe."""
    model = copy.deepcopy(option("model", settings["model"]))
    objective = copy.deepcopy(option("objective", settings["objective"]))
    for key, value in settings.items():
        group, _, target = key.partition("@")
        if "/" in group:
            model[(target or group).replace("model.", "").replace("model/", "")] = copy.deepcopy(
                option(group, value)
            )
    for key, value in settings.items():
        first, *inner = key.split(".")
        if inner and "/" not in key:
            node = model if first == "model" else objective
            for name in inner[:-1]:
                node = node[name]
            assert inner[-1] in node, key
            node[inner[-1]] = value
    return model, objective


def refusal(settings: Settings) -> str | None:
    """The message of a composition that is refused; None for one that works."""
    model = built(frozenset(item for item in settings.items() if item[0].startswith("model")))
    if isinstance(model, str):
        return model
    try:
        check_together(model, instantiate(nodes(settings)[1], "objective"))
    except ConfigError as error:
        return str(error)
    return None


@cache
def built(settings: frozenset[tuple[str, Any]]) -> Model | str:
    """The model of some settings, or the message with which it is refused."""
    try:
        return instantiate(nodes({**dict(settings), "objective": "elbo"})[0], "model")
    except ConfigError as error:
        return str(error)


def plain(changes: dict[str, str]) -> Settings:
    """Changes with their values as YAML reads them."""
    return {key: OmegaConf.from_dotlist([f"value={text}"]).value for key, text in changes.items()}


def follow(settings: Settings, refused: tuple[str, ...] = ()) -> None:
    message = refusal(settings)
    if message is None:
        return
    assert message not in refused, f"{settings}: the advice leads back to: {message}"
    assert len(refused) < MAX_CHANGES, f"{settings} is refused still: {(*refused, message)}"
    alternatives = advice(message)
    assert alternatives, f"no advice in: {message}"
    for change in alternatives:
        follow({**changed(settings, change), **plain(change)}, (*refused, message))


@pytest.mark.parametrize(
    "objective", list(objectives()), ids=lambda item: "-".join(map(str, item.values()))
)
def test_each_piece_of_advice_leads_to_parts_that_fit(objective: Settings) -> None:
    refused = 0
    for model in models():
        settings = {**model, **objective}
        refused += refusal(settings) is not None
        follow(settings)
    assert refused > 0
