"""What a model is worth: bounds on its evidence, its latent variables, its pictures."""

import math
import time
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from rich.console import Console
from torch import Tensor

from vae_lightning import evaluation_report
from vae_lightning.checkpoint import find, load
from vae_lightning.config import instantiate
from vae_lightning.data import ImageDataModule
from vae_lightning.data.batches import Batch, ResidentBatches
from vae_lightning.grids import grid
from vae_lightning.metrics import ImageBounds
from vae_lightning.metrics.decomposition import rate_decomposition
from vae_lightning.metrics.features import feature_classifier
from vae_lightning.metrics.latents import Score, posterior_means, usage
from vae_lightning.metrics.likelihood import BOUNDS
from vae_lightning.metrics.probes import probe_accuracy
from vae_lightning.metrics.samples import reconstruction_quality, sample_quality
from vae_lightning.models import Model
from vae_lightning.randomness import fixed_noise
from vae_lightning.report import has_bound
from vae_lightning.train import settle_lightning
from vae_lightning.trained import datamodule_of

# Images between two steps of the progress bar.
_BATCH = 20


class BoundsModule(LightningModule):
    """Computes the bounds of each image, shared out among the processes of a Trainer."""

    def __init__(
        self, model: Model, images: Tensor, labels: Tensor, num_samples: int, seed: int
    ) -> None:
        super().__init__()
        self.model = model
        self.images = images
        self.labels = labels
        self.metric = ImageBounds(num_samples, seed)
        self.bounds = torch.empty(0)

    def test_dataloader(self) -> ResidentBatches:
        process = (self.trainer.global_rank, self.trainer.world_size)
        # The place of each image in the split stands where its label would.
        places = torch.arange(len(self.images))
        return ResidentBatches(self.images, places, _BATCH, process=process)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        images, places = batch
        self.metric.update(self.model, images, places, self.labels[places].to(images.device))

    def on_test_epoch_end(self) -> None:
        self.bounds = self.metric.compute().cpu()


def run(config: dict[str, Any]) -> float | None:
    """Measure a checkpoint, write `metrics.json`, scalars and pictures, and print a table.

    Args:
        config: resolved, of `conf/evaluate.yaml`.

    Returns:
        `nll` of the split, in nats, where it was asked for.
    """
    settle_lightning()
    options = config["evaluate"]
    model = load(config["ckpt_path"])
    data = datamodule_of(config)
    data.prepare_data()
    data.setup("test")
    images, labels = data.evaluated(options["split"])
    images, labels = images[: options["num_images"]], labels[: options["num_images"]]
    trainer: Trainer = instantiate(
        config["trainer"], "trainer", logger=False, enable_checkpointing=False, callbacks=_bar()
    )
    Console(highlight=False).print(
        f"[bold]{data.source.title}[/], {len(images):,} images of the {options['split']} split · "
        f"{find(config['ckpt_path'])}",
        soft_wrap=True,
    )
    if not data.class_names and {"latents", "samples"} & set(options["parts"]):
        print(
            "The images have no classes: no label is read from the latents, and no classifier "
            "compares samples with images."
        )
    scores: dict[str, Score] = {}
    seconds: dict[str, float] = {}
    pictures: dict[str, Tensor] = {}
    bounds = space = None

    started = time.perf_counter()
    if "likelihood" in options["parts"]:
        module = BoundsModule(model, images, labels, options["num_samples"], config["seed"])
        trainer.test(module, verbose=False)
        bounds = module.bounds
        likelihood = likelihood_scores(bounds, math.prod(model.image_shape))
        if not has_bound(model):
            # They would bound log p(x) if the codes had a density.
            for name in ("nll", "nll_standard_error", "bits_per_dimension"):
                del likelihood[name]
        scores |= likelihood
        seconds["likelihood"] = time.perf_counter() - started
    if not trainer.is_global_zero:
        return None

    device = trainer.strategy.root_device
    model = model.to(device).eval()
    shown, labels = images.to(device, torch.float32) / 255, labels.to(device)
    if "latents" in options["parts"]:
        started = time.perf_counter()
        scores |= latent_scores(model, data, shown, labels, config["seed"])
        seconds["latents"] = time.perf_counter() - started
    if "samples" in options["parts"]:
        started = time.perf_counter()
        found, pictures, space = sample_scores(config, model, data, shown, labels, bounds)
        scores |= found
        seconds["samples"] = time.perf_counter() - started

    tagged = {f"{options['split']}/{name}": value for name, value in scores.items()}
    protocol = evaluation_report.protocol(config, data, model, len(images), device)
    protocol |= {"feature_space": space, "seconds": seconds}
    evaluation_report.write(Path(config["paths"]["run_dir"]), tagged, protocol, pictures)
    evaluation_report.show(scores, protocol, config)
    nll = scores.get("nll")
    return nll if isinstance(nll, float) else None


def likelihood_scores(bounds: Tensor, num_pixels: int) -> dict[str, float]:
    """Means over the images of what `ImageBounds` computed.

    Shape:
        bounds (N, len(BOUNDS)).
    """
    means = dict(zip(BOUNDS, bounds.mean(0).tolist(), strict=True))
    nll = bounds[:, 0]
    return {
        "nll": means["nll"],
        "nll_standard_error": float(nll.std() / math.sqrt(len(nll))),
        "bits_per_dimension": means["nll"] / (num_pixels * math.log(2)),
        **{name: means[name] for name in BOUNDS[1:]},
    }


@torch.no_grad()
def latent_scores(
    model: Model, data: ImageDataModule, images: Tensor, labels: Tensor, seed: int
) -> dict[str, Score]:
    """What the latent variables of some images hold; see `metrics.latents`.

    Of data without classes, there are no labels to read from them.

    Shape:
        images float32 (N, C, H, W) in [0, 1]; labels int64 (N,).
    """
    scores = usage(model, images, labels)
    if has_bound(model):
        scores |= rate_decomposition(model, images, labels, seed)
    if not data.class_names:
        return scores
    train_images, train_labels = data.evaluated("train")
    train_means = posterior_means(
        model,
        train_images.to(images.device, torch.float32) / 255,
        train_labels.to(images.device),
    )
    scores |= probe_accuracy(
        train_means.cpu(),
        train_labels.cpu(),
        posterior_means(model, images, labels).cpu(),
        labels.cpu(),
    )
    return scores


@torch.no_grad()
def sample_scores(
    config: dict[str, Any],
    model: Model,
    data: ImageDataModule,
    images: Tensor,
    labels: Tensor,
    bounds: Tensor | None,
) -> tuple[dict[str, Score], dict[str, Tensor], str | None]:
    """How good reconstructions and samples are, the pictures of both, and the feature space.

    Data without classes has no such space: none of its images is told apart by a classifier.

    Shape:
        images float32 (N, C, H, W) in [0, 1]; labels int64 (N,); bounds (N, len(BOUNDS)); the
        pictures are uint8 (3, H', W').
    """
    # Samples of a conditional model are of as many of each class as there are images of it.
    conditions = labels.split(1000)
    with fixed_noise(config["seed"], images.device):
        samples = torch.cat([model.sample(len(part), part) for part in conditions])
    reconstructions = torch.cat(
        [model.reconstruct(*part) for part in zip(images.split(1000), conditions, strict=True)]
    )
    # Means of normal pixels may lie beyond black and white.
    samples, reconstructions = samples.clamp(0, 1), reconstructions.clamp(0, 1)
    scores: dict[str, Score] = {**reconstruction_quality(images, reconstructions)}
    space = None
    if data.class_names:
        found, space = _in_feature_space(config, data, samples)
        scores |= found
    pictures = {
        "reconstructions": _pairs(images[:32], reconstructions[:32]),
        "samples": grid(samples[:64], 8),
    }
    if bounds is not None:
        worst = bounds[:, 0].argsort(descending=True)[:32].to(images.device)
        pictures["worst_explained"] = _pairs(images[worst], reconstructions[worst])
    return scores, pictures, space


def _in_feature_space(
    config: dict[str, Any], data: ImageDataModule, samples: Tensor
) -> tuple[dict[str, Score], str]:
    # Samples are mean images, so they are compared with the images before any binarisation.
    grey = data
    if data.protocol.binarize != "none":
        grey = datamodule_of(config, binarize="none")
        grey.setup("test")
    # Of the official splits, so that the space is the same whatever a run holds out.
    classifier = feature_classifier(
        str(grey.name),
        *grey.official(train=True),
        *grey.official(train=False),
        num_classes=len(grey.class_names),
        folder=grey.cache / "features",
    ).to(samples.device)
    real = grey.evaluated(config["evaluate"]["split"])[0][: len(samples)]
    scores: dict[str, Score] = {
        **sample_quality(real.to(samples.device, torch.float32) / 255, samples, classifier),
        "feature_space_accuracy": classifier.test_accuracy,
    }
    return scores, classifier.space


def _pairs(images: Tensor, reconstructions: Tensor, columns: int = 8) -> Tensor:
    """Rows of images, each above the row of their reconstructions."""
    count = len(images) // columns * columns or len(images)
    rows = zip(images[:count].split(columns), reconstructions[:count].split(columns), strict=True)
    return grid(torch.cat([torch.cat(pair) for pair in rows]), min(columns, count))


def _bar() -> list[Any]:
    from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar

    terminal = Console().is_terminal
    return [RichProgressBar(refresh_rate=5)] if terminal else [TQDMProgressBar(refresh_rate=0)]
