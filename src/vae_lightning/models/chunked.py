"""Likelihoods of many samples, decoded in chunks so that their images need not fit in memory."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lightning.models.model import Model
from vae_lightning.models.trace import Trace

# Images per chunk. Larger chunks do not fit in the CPU's caches.
_CHUNK = 500


@torch.no_grad()
def chunked_trace(model: Model, x: Tensor, num_samples: int, labels: Tensor | None = None) -> Trace:
    """The trace of `model(x, num_samples, labels)`, with a likelihood that is decoded in chunks.

    Args:
        model: in evaluation mode.
        x: images.
        num_samples: K.
        labels: their classes, for a conditional model.

    Shape:
        x (B, C, H, W) in [0, 1]; labels int64 (B,).
    """
    latents = model.infer(x, num_samples, labels)
    likelihood = ChunkedLikelihood(model, [latent.z for latent in latents], labels)
    return Trace(x=x, latents=latents, likelihood=likelihood)


class ChunkedLikelihood(Distribution):
    """p(x|z) of many samples, decoded in chunks whenever images are scored.

    Args:
        model: decodes the samples.
        latents: K samples of each stochastic layer, (K, B, *event), as in `Latent.z`.
        labels: the classes of the B images, for a conditional model.

    Shape:
        batch shape (K, B), event shape (C, H, W).
    """

    has_rsample = False
    arg_constraints: ClassVar = {}

    def __init__(self, model: Model, latents: Sequence[Tensor], labels: Tensor | None) -> None:
        self.model = model
        self.latents = latents
        self.labels = labels
        batch_shape, event_shape = latents[0].shape[:2], torch.Size(model.image_shape)
        super().__init__(batch_shape, event_shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of images (B, C, H, W) under each sample, (K, B)."""
        samples = max(1, _CHUNK // len(value))
        chunks = zip(*(z.split(samples) for z in self.latents), strict=True)
        scores = [self.model.predict(chunk, self.labels).log_prob(value) for chunk in chunks]
        return torch.cat(scores)
