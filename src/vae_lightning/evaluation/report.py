"""The protocol of an evaluation, its files, and its table."""

import json
import platform
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import Logger
from rich.console import Console
from torch import Tensor

from vae_lightning.callbacks.loggers import log_picture
from vae_lightning.cli.expected import comparisons
from vae_lightning.cli.paths import relative
from vae_lightning.cli.tables import show_facts, value_table
from vae_lightning.cli.trained import describe_training
from vae_lightning.cli.workspace import Workspace
from vae_lightning.data.protocol import SEED
from vae_lightning.drawing.grids import png
from vae_lightning.metrics.bounds import SOFT_BOUND, bound_name
from vae_lightning.metrics.latents import Score, format_score
from vae_lightning.objectives.objective import TERMS

_PACKAGES = (
    "vae-lightning",
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "scikit-learn",
)

# Other libraries crop the borders, and find other values.
_SSIM = "Gaussian window of 11 x 11 pixels, mirrored borders"


def protocol(workspace: Workspace, options: dict[str, Any], num_images: int) -> dict[str, Any]:
    """Everything that the numbers depend on."""
    checkpoint, data = workspace.checkpoint, workspace.data
    return {
        "data": data.name,
        "data_root": str(data.location),
        "files_of_training": checkpoint.origin.same_files(data),
        "split": options["split"],
        "images": num_images,
        "images_in_split": data.num_images[options["split"]],
        "binarize": data.protocol.binarize,
        "binarization_seed": SEED,
        "bound": bound_name(data, workspace.model),
        "num_samples": options["num_samples"],
        "seed": workspace.seed,
        "checkpoint": str(checkpoint.path),
        "epoch": checkpoint.epoch,
        "step": checkpoint.step,
        "training_seed": checkpoint.config["seed"],
        "ssim": _SSIM,
        "device": str(workspace.device),
        "precision": options["precision"],
        "threads": torch.get_num_threads(),
        "date": date.today().isoformat(),
        "versions": {name: version(name) for name in _PACKAGES}
        | {"python": platform.python_version()},
    }


def write(
    folder: Path,
    scores: dict[str, Score],
    protocol: dict[str, Any],
    pictures: dict[str, Tensor],
    loggers: Sequence[Logger],
) -> None:
    """Write `metrics.json`, and the pictures as PNG, and log numbers and pictures.

    What training logs too, such as `test/elbo`, is not logged again.

    Shape:
        pictures: uint8 (3, H, W), by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps({**dict(sorted(scores.items())), "protocol": protocol}, indent=2)
    (folder / "metrics.json").write_text(content + "\n", encoding="utf-8")
    numbers = {
        tag: value
        for tag, value in scores.items()
        if isinstance(value, float) and tag.rpartition("/")[2] not in TERMS
    }
    for logger in loggers:
        logger.log_metrics(numbers, protocol["step"])
    for name, picture in pictures.items():
        file = folder / "pictures" / f"{name}.png"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(png(picture))
        log_picture(loggers, f"evaluate/{protocol['split']}/{name}", file, protocol["step"])
    for logger in loggers:
        logger.finalize("success")


# The rows of the table: name, unit, digits.
_ROWS = (
    ("nll", "nats per image", 2),
    ("bits_per_dimension", "bits", 4),
    ("elbo", "nats per image", 2),
    ("rate", "nats per image", 2),
    ("distortion", "nats per image", 2),
    ("active_units", "latent dimensions", 0),
    ("active_units_per_layer", "latent dimensions", 0),
    ("rate_per_layer", "nats per image", 2),
    ("codebook_perplexity", "codes in use", 1),
    ("mutual_information", "nats, at most {mutual_information_bound:.2f}", 2),
    ("marginal_kl", "nats", 2),
    ("total_correlation", "nats", 2),
    ("dimension_wise_kl", "nats", 2),
    ("knn_accuracy", "of labels, from posterior means", 4),
    ("linear_probe_accuracy", "of labels, from posterior means", 4),
    ("mse", "per pixel", 4),
    ("ssim", "of 1, mirrored borders", 4),
    ("frechet_distance", "in a classifier's features, no FID", 2),
    ("precision", "of the samples look real", 4),
    ("recall", "of the images are covered", 4),
)

# The features of the Fréchet distance have 64 dimensions, and their covariance needs many more
# images than that.
_FEW_IMAGES = 1000
# A precision as good as 1, a recall as good as 0.
_NONE_AT_ALL = 0.001


def show(
    scores: dict[str, Score], protocol: dict[str, Any], config: dict[str, Any], folder: Path
) -> None:
    """Print the scores as a table, what they are of, and where the results are.

    Args:
        scores: by name.
        protocol: see `protocol`.
        config: of the training run, resolved.
        folder: of the results.
    """
    console = Console(highlight=False)
    numbers = {name: value for name, value in scores.items() if isinstance(value, float)}
    rows = []
    for name, unit, digits in _ROWS:
        if (value := scores.get(name)) is not None:
            label = name.replace("_", " ")
            if name == "nll":
                label = f"nll, K = {protocol['num_samples']:,}"
                if (error := numbers.get("nll_standard_error")) is not None:
                    unit += f", ± {error:.2f} over {protocol['images']:,} images"
            rows.append((label, format_score(value, digits), unit.format(**numbers)))
    print()
    console.print(value_table(rows, title=protocol["split"]))
    print()
    facts = [("trained", describe_training(config)), ("elbo", protocol["bound"])]
    if protocol["bound"] == SOFT_BOUND:
        facts.append(("", "for an NLL that is, train with data.binarize=dynamic"))
    compared = {f"{protocol['split']}/{name}": value for name, value in numbers.items()}
    counted = None if protocol["images"] == protocol["images_in_split"] else protocol["images"]
    lines = comparisons(config.get("expected"), compared, protocol["num_samples"], counted)
    facts += [("expected", line) for line in lines]
    facts += [("note", line) for line in _notes(numbers, protocol["images"])]
    spent = ", ".join(f"{part} {value:.0f} s" for part, value in protocol["seconds"].items())
    facts += [("seconds", spent), ("results", str(relative(folder)))]
    show_facts(facts)


def _notes(scores: dict[str, float], num_images: int) -> list[str]:
    """What some values mean."""
    notes = []
    if "frechet_distance" in scores and num_images < _FEW_IMAGES:
        notes.append(
            f"the Fréchet distance of {num_images:,} images is too high: it falls with their "
            "number, so compare it only with distances of as many"
        )
    if (
        scores.get("precision", 0.0) >= 1 - _NONE_AT_ALL
        and scores.get("recall", 1.0) <= _NONE_AT_ALL
    ):
        notes.append(
            "precision 1 with recall 0: the samples are nearly all alike, so that each looks real "
            "and the images are not covered; the model has learned too little, or has collapsed"
        )
    return notes
