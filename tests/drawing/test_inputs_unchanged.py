"""Nothing that a model, a likelihood or a prior returned is changed in place."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tiny import tiny_vae
from vae_lightning.detection.scores import Scorer
from vae_lightning.drawing.gif import write_gif
from vae_lightning.drawing.grids import grid
from vae_lightning.drawing.labelled_grid import labelled_grid
from vae_lightning.drawing.traversals import prior_spread, quantile_grid, ranking, traversal
from vae_lightning.generation.augment_methods import LabelledImages, generator
from vae_lightning.generation.sampling import sample_batches
from vae_lightning.metrics.latents import usage
from vae_lightning.metrics.samples import reconstruction_quality
from vae_lightning.models import VAE


def model_with_buffers() -> tuple[VAE, dict[str, Tensor]]:
    """A model whose images, latents and prior are the same tensors at each call."""
    torch.manual_seed(0)
    model = tiny_vae(latent_dim=3).eval()
    kept = {
        "images": 0.2 + 0.6 * torch.rand(8, 1, 4, 4),
        "means": torch.randn(8, 3),
        "draws": torch.randn(8, 3),
    }
    returned: dict[str, Callable[..., Tensor]] = {
        "mean_images": lambda latents, labels=None: kept["images"][: len(latents)],
        "latent_means": lambda x, labels=None: kept["means"][: len(x)],
        "sample_latents": lambda count, temperature=1.0: (
            kept["draws"].repeat(-(-count // 8), 1)[:count] if count > 8 else kept["draws"][:count]
        ),
    }
    for name, function in returned.items():
        object.__setattr__(model, name, function)
    return model, kept


BYTES = torch.randint(0, 256, (8, 1, 4, 4), dtype=torch.uint8)
LABELS = torch.zeros(8, dtype=torch.int64)


def perturbed(model: Any, images: Tensor, folder: Path) -> None:
    train = LabelledImages(BYTES, BYTES, LABELS)
    generator(model, train, "perturb", 0.5)(torch.arange(8), LABELS)


USES: dict[str, Callable[[Any, Tensor, Path], object]] = {
    "grid": lambda model, images, folder: grid(images, 4),
    "labelled grid": lambda model, images, folder: labelled_grid([images], 4),
    "gif": lambda model, images, folder: write_gif(images, folder / "x.gif", [40] * 8),
    "traversal": lambda model, images, folder: traversal(
        model, model.latent_means(images)[0], 1, torch.zeros(5)
    ),
    "quantile grid": lambda model, images, folder: quantile_grid(
        model, 3, prior_spread(model)[0], [0, 1]
    ),
    "ranking": lambda model, images, folder: ranking(model, images, None),
    "usage": lambda model, images, folder: usage(model, images, None),
    "samples": lambda model, images, folder: list(
        sample_batches(model, model.sample_latents, 8, None, 8)
    ),
    "perturb": perturbed,
    "quality": lambda model, images, folder: reconstruction_quality(
        images, model.reconstruct(images)
    ),
    "detection": lambda model, images, folder: Scorer(
        model, ["reconstruction", "latent", "elbo"], 2, 0, BYTES
    )(BYTES, "images"),
}


@pytest.mark.parametrize("use", USES)
def test_what_a_model_returned_stays_as_it_is(use: str, tmp_path: Path) -> None:
    model, kept = model_with_buffers()
    before = {name: value.clone() for name, value in kept.items()}
    prior = model.prior_distribution()
    mean, scale = prior.mean.clone(), prior.stddev.clone()
    with torch.no_grad():
        USES[use](model, model.mean_images(torch.zeros(8, 3)), tmp_path)
    for name, value in kept.items():
        assert torch.equal(value, before[name]), name
    assert torch.equal(model.prior_distribution().mean, mean)
    assert torch.equal(model.prior_distribution().stddev, scale)
