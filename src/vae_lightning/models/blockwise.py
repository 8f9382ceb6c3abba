"""Many samples scored without holding all of their images."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lightning.models.latent_variable import LatentVariableModel
from vae_lightning.models.trace import Trace

# Images decoded at once. Larger blocks leave the processor's caches.
_DECODED = 500


@torch.no_grad()
def trace_in_blocks(
    model: LatentVariableModel, x: Tensor, num_samples: int, labels: Tensor | None = None
) -> Trace:
    """As `model(x, num_samples, labels)`, of images that are decoded when they are scored.

    Args:
        model: in evaluation mode.
        x: images.
        num_samples: K.
        labels: their classes, for a conditional model.

    Shape:
        x (B, C, H, W) in [0, 1]; labels int64 (B,).
    """
    latents = model.infer(x, num_samples, labels)
    likelihood = DecodedInBlocks(model, [latent.z for latent in latents], labels)
    return Trace(x=x, latents=latents, likelihood=likelihood)


class DecodedInBlocks(Distribution):
    """p(x|z) of many samples, which scores images and holds none.

    Args:
        model: decodes.
        latents: K samples of each stochastic layer, (K, B, *event), as in `Latent.z`.
        labels: the classes of the B images, for a conditional model.

    Shape:
        batch shape (K, B), event shape (C, H, W).
    """

    has_rsample = False
    arg_constraints: ClassVar = {}

    def __init__(
        self, model: LatentVariableModel, latents: Sequence[Tensor], labels: Tensor | None
    ) -> None:
        self.model = model
        self.latents = latents
        self.labels = labels
        batch_shape, event_shape = latents[0].shape[:2], torch.Size(model.image_shape)
        super().__init__(batch_shape, event_shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of images (B, C, H, W) under each sample, (K, B)."""
        samples = max(1, _DECODED // len(value))
        blocks = zip(*(z.split(samples) for z in self.latents), strict=True)
        scores = [self.model.predict(block, self.labels).log_prob(value) for block in blocks]
        return torch.cat(scores)
