"""Folders as training runs leave them, without the training."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from vae_lightning.config import compose


@cache
def _composed(choices: tuple[str, ...]) -> Any:
    """The configuration of some options, which takes longer to compose than to change."""
    return compose("train", choices, with_hydra=True)


def write_run(
    folder: Path,
    overrides: Sequence[str] = (),
    metrics: dict[str, Any] | None = None,
    bound: str = "bound on log p(x)",
) -> Path:
    """The configuration of a run with these settings, and its results if it has finished."""
    leaves = [item for item in overrides if "." in item.partition("=")[0] or item[:5] == "seed="]
    composed = _composed(tuple(item for item in overrides if item not in leaves)).copy()
    for key, _, value in (item.lstrip("+").partition("=") for item in leaves):
        OmegaConf.update(composed, key, yaml.safe_load(value), force_add=True)
    hidden = folder / ".hydra"
    hidden.mkdir(parents=True)
    settings = {
        "job": {"config_name": "train"},
        "overrides": {"task": list(overrides)},
        "runtime": {"choices": dict(composed.hydra.runtime.choices)},
    }
    (hidden / "hydra.yaml").write_text(OmegaConf.to_yaml({"hydra": settings}))
    config = OmegaConf.masked_copy(composed, [key for key in composed if key != "hydra"])
    (hidden / "config.yaml").write_text(OmegaConf.to_yaml(config))
    if metrics is not None:
        facts = {
            "data": config.data.name,
            "binarize": config.data.binarize,
            "bound": bound,
            "seed": config.seed,
            "checkpoint": f"/elsewhere/{folder.name}/checkpoints/best.ckpt",
        }
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints" / "best.ckpt").touch()
        (folder / "metrics.json").write_text(json.dumps({**metrics, **facts}))
    return folder


def write_sweep(folder: Path, jobs: Mapping[Any, dict[str, Any] | None]) -> Path:
    """A sweep of jobs: their overrides, and their metrics if they have finished."""
    folder.mkdir(parents=True)
    (folder / "multirun.yaml").touch()
    for number, (overrides, metrics) in enumerate(jobs.items()):
        write_run(folder / f"{number}_digits", ["data=digits", *overrides], metrics)
    return folder
