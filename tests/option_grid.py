"""Small models of any posterior, prior, likelihood and objective."""

import copy
from functools import cache
from typing import Any

from tiny import spaces
from vae_lightning.config import compose, instantiate, to_container
from vae_lightning.models import VAE
from vae_lightning.objectives import Objective

# Small enough that the whole grid takes less than two minutes.
SMALL = {
    "latent_dim": 4,
    "image_shape": [1, 4, 4],
    "hidden": [6],
    "channels": [4],
    "num_components": 3,
    "categories": 2,
    "bins": 3,
    "transforms": 1,
    "width": 4,
}


def small(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: SMALL[key] if key in SMALL and key in node else small(value)
            for key, value in node.items()
        }
    return node


@cache
def option(group: str, name: str) -> dict[str, Any]:
    """What the configuration holds for an option, in small."""
    node = to_container(compose("train", [f"{group}={name}", "paths.run_dir=unused"]))
    for key in group.split("/"):
        node = node[key]
    return dict(small(node))


def model_of(posterior: str, prior: str, likelihood: str) -> VAE:
    node = small(copy.deepcopy(option("model", "vae")))
    node["posterior"] = option("model/posterior", posterior)
    node["prior"] = option("model/prior", prior)
    node["likelihood"] = option("model/likelihood", likelihood)
    model = instantiate(node, "model")
    assert isinstance(model, VAE)
    return model


def objective_of(name: str) -> Objective:
    objective = instantiate(option("objective", name), "objective")
    assert isinstance(objective, Objective)
    return objective


PAIRS = [
    (posterior, prior)
    for posterior, space in spaces("model/posterior").items()
    for prior, place in spaces("model/prior").items()
    if place in (space, None)
]
