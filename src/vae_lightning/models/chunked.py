"""Likelihoods of many images and samples, decoded in chunks so that they need not fit in memory."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lightning.utils.blocks import bytes_of, rows_at_once

# p(x|z) of each sample, from latents (K, B, *event) of each layer and labels (B,) or None.
Predict = Callable[[Sequence[Tensor], Tensor | None], Distribution]

# Images decoded at once where many samples of each are scored. More do not fit in the CPU's caches.
DECODED = 500


class ChunkedLikelihood(Distribution):
    """p(x|z) of many samples, decoded in chunks whenever images are scored.

    The size of a chunk follows from the memory that one image takes; see `utils.blocks`.

    Args:
        predict: decodes samples.
        owner: the module that it runs, in evaluation mode.
        latents: K samples of each stochastic layer, (K, B, *event), as in `Latent.z`.
        labels: the classes of the B images, for a conditional model.
        image_shape: (C, H, W).
        most: images in a chunk; None for as many as fit.

    Shape:
        batch shape (K, B), event shape (C, H, W).
    """

    has_rsample = False
    arg_constraints: ClassVar = {}

    def __init__(
        self,
        predict: Predict,
        owner: nn.Module,
        latents: Sequence[Tensor],
        labels: Tensor | None,
        image_shape: Sequence[int],
        most: int | None,
    ) -> None:
        self.predict = predict
        self.owner = owner
        self.latents = latents
        self.labels = labels
        self.most = most
        batch_shape, event_shape = latents[0].shape[:2], torch.Size(image_shape)
        super().__init__(batch_shape, event_shape, validate_args=False)

    @torch.no_grad()
    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of images (B, C, H, W) under each sample, (K, B)."""
        one = slice(0, 1)
        cost = bytes_of(lambda: self._score(value, one, one), self.owner, "log_prob", value[:1])
        size = rows_at_once(cost, self.most)
        num_samples, num_images = self.batch_shape
        # All images and as many samples as fit, or one sample of as many images as fit.
        images, samples = min(size, num_images), max(1, size // num_images)
        return torch.cat(
            [
                torch.cat(
                    [
                        self._score(value, slice(k, k + samples), slice(b, b + images))
                        for b in range(0, num_images, images)
                    ],
                    dim=1,
                )
                for k in range(0, num_samples, samples)
            ]
        )

    def _score(self, value: Tensor, samples: slice, images: slice) -> Tensor:
        labels = None if self.labels is None else self.labels[images]
        latents = [z[samples, images] for z in self.latents]
        return self.predict(latents, labels).log_prob(value[images])
