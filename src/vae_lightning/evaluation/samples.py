"""Scores of reconstructions and samples, and pictures of them."""

import torch
from torch import Tensor

from vae_lightning.cli.workspace import Workspace
from vae_lightning.drawing.grids import grid
from vae_lightning.metrics.features import feature_classifier
from vae_lightning.metrics.latents import Score
from vae_lightning.metrics.samples import reconstruction_quality, sample_quality
from vae_lightning.utils.blocks import images_at_once
from vae_lightning.utils.progress import stage
from vae_lightning.utils.random_state import fixed_noise


@torch.no_grad()
def sample_scores(
    workspace: Workspace, split: str, images: Tensor, labels: Tensor, bounds: Tensor | None
) -> tuple[dict[str, Score], dict[str, Tensor], str | None]:
    """How good reconstructions and samples are, pictures of both, and the feature space.

    Data without classes has no feature space: no classifier can be trained on it.

    Args:
        workspace: the model and its data.
        split: of the images.
        images: to reconstruct, and to compare samples with.
        labels: of the images; samples of a conditional model are of the same classes.
        bounds: of each image, if they are known.

    Shape:
        images float32 (N, C, H, W) in [0, 1]; labels int64 (N,); bounds (N, len(BOUNDS)); the
        pictures are uint8 (3, H', W').
    """
    model = workspace.model
    block = images_at_once(model.image_shape, most=1000)
    conditions = labels.split(block)
    with fixed_noise(workspace.seed, images.device):
        samples = torch.cat([model.sample(len(part), part) for part in conditions])
    reconstructions = torch.cat(
        [model.reconstruct(*part) for part in zip(images.split(block), conditions, strict=True)]
    )
    # Means of normal pixels may lie beyond black and white.
    samples, reconstructions = samples.clamp(0, 1), reconstructions.clamp(0, 1)
    scores: dict[str, Score] = {**reconstruction_quality(images, reconstructions)}
    space = None
    if workspace.data.class_names:
        found, space = _in_feature_space(workspace, split, samples)
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
    workspace: Workspace, split: str, samples: Tensor
) -> tuple[dict[str, Score], str]:
    # Samples are mean images, so they are compared with the images before any binarisation.
    grey = workspace.data
    if grey.protocol.binarize != "none":
        grey = workspace.data_with(binarize="none")
        grey.setup("test")
    # Of the official splits, so that the space is the same whatever a run holds out.
    classifier = feature_classifier(
        str(grey.name),
        *grey.official(train=True),
        *grey.official(train=False),
        num_classes=len(grey.class_names),
        folder=grey.cache / "features",
    ).to(samples.device)
    real = grey.evaluated(split)[0][: len(samples)]
    with stage("Fréchet distance, precision and recall"):
        quality = sample_quality(workspace.to_model(real), samples, classifier)
    scores: dict[str, Score] = {**quality, "feature_space_accuracy": classifier.test_accuracy}
    return scores, classifier.space


def _pairs(images: Tensor, reconstructions: Tensor, columns: int = 8) -> Tensor:
    """Rows of images, each above the row of their reconstructions."""
    count = len(images) // columns * columns or len(images)
    rows = zip(images[:count].split(columns), reconstructions[:count].split(columns), strict=True)
    return grid(torch.cat([torch.cat(pair) for pair in rows]), min(columns, count))
