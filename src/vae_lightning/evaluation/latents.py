"""Scores of the latent variables of some images."""

import torch
from torch import Tensor

from vae_lightning.cli.workspace import Workspace
from vae_lightning.metrics.bounds import has_bound
from vae_lightning.metrics.decomposition import rate_decomposition
from vae_lightning.metrics.latents import Score, latent_means, usage
from vae_lightning.metrics.probes import probe_accuracy
from vae_lightning.utils.progress import stage


@torch.no_grad()
def latent_scores(workspace: Workspace, images: Tensor, labels: Tensor) -> dict[str, Score]:
    """How the latent variables are used, the parts of the rate, and the accuracy of probes.

    Data without classes has no labels for probes to learn. See `metrics.latents`.

    Shape:
        images float32 (N, C, H, W) in [0, 1]; labels int64 (N,); both on the model's device.
    """
    model = workspace.model
    scores = usage(model, images, labels)
    if has_bound(model):
        with stage("parts of the rate"):
            scores |= rate_decomposition(model, images, labels, workspace.seed)
    if not workspace.data.class_names:
        return scores
    train_images, train_labels = workspace.images("train")
    with stage("means of the training images"):
        train_means = latent_means(model, train_images, train_labels.to(images.device))
    means = latent_means(model, images, labels).cpu()
    with stage("k-nearest neighbours and linear probe"):
        return scores | probe_accuracy(train_means.cpu(), train_labels.cpu(), means, labels.cpu())
