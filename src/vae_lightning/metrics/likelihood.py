"""Bounds on the evidence of each image: importance-weighted and ELBO."""

import math

import torch
from torch import Tensor
from torchmetrics import Metric

from vae_lightning.models import Model
from vae_lightning.models.chunked import DECODED
from vae_lightning.utils.random_state import fixed_noise, reseed

BOUNDS = ("nll", "elbo", "rate", "distortion")

# Posterior samples drawn at once, so that memory does not grow with K. It is no option, because the
# samples that a seed gives depend on it.
_DRAWN = 5000


@torch.no_grad()
def bounds_of(model: Model, image: Tensor, num_samples: int, label: Tensor | None = None) -> Tensor:
    r"""Bounds on the evidence of one image, with K samples from torch's own generator.

    .. math:: -\log p(x) \le -\mathbb{E} \Big[ \log \frac{1}{K} \sum_{k=1}^K
              \frac{p(x, z_k)}{q(z_k|x)} \Big], \quad z_k \sim q(z|x)

    Args:
        model: in evaluation mode.
        image: (1, C, H, W), in [0, 1].
        num_samples: K.
        label: of the image, (1,), for a conditional model.

    Shape:
        returns (len(BOUNDS),), in nats: the importance-weighted bound `nll`, and elbo, rate and
        distortion averaged over the samples.

    References:
        Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016,
        https://arxiv.org/abs/1509.00519.
    """
    log_total = torch.full((), -math.inf, dtype=torch.float64, device=image.device)
    sums = torch.zeros(3, dtype=torch.float64, device=image.device)
    for start in range(0, num_samples, _DRAWN):
        drawn = min(_DRAWN, num_samples - start)
        trace = model.chunked_trace(image, drawn, label, most=DECODED)
        log_total = torch.logaddexp(log_total, trace.log_weight.double().logsumexp(0).squeeze())
        terms = torch.stack([trace.elbo, trace.rate, trace.distortion])  # (3, K, 1)
        sums += terms.sum((1, 2), dtype=torch.float64)
    nll = math.log(num_samples) - log_total
    return torch.cat([nll[None], sums / num_samples])


class ImageBounds(Metric):
    """The bounds of each image of a split.

    Each image has its own random stream, so the bounds do not depend on how images are distributed
    over batches and processes.

    Args:
        num_samples: K, posterior samples of each image.
        seed: of the noise.
    """

    full_state_update = False
    is_differentiable = False

    indices: list[Tensor]
    bounds: list[Tensor]

    def __init__(self, num_samples: int, seed: int) -> None:
        super().__init__()
        self.num_samples = num_samples
        self.seed = seed
        self.add_state("indices", default=[], dist_reduce_fx="cat")
        self.add_state("bounds", default=[], dist_reduce_fx="cat")

    def update(
        self, model: Model, images: Tensor, indices: Tensor, labels: Tensor | None = None
    ) -> None:
        """Add images.

        Args:
            model: in evaluation mode.
            images: (B, C, H, W), in [0, 1].
            indices: of the images in their split, (B,).
            labels: int64 (B,), for a conditional model.
        """
        rows = []
        with fixed_noise(0, images.device):
            for row, index in enumerate(indices.tolist()):
                reseed(self.seed * 1_000_003 + index, images.device)
                chosen = slice(row, row + 1)
                label = None if labels is None else labels[chosen]
                rows.append(bounds_of(model, images[chosen], self.num_samples, label))
        self.indices.append(indices.to(images.device))
        self.bounds.append(torch.stack(rows))

    def compute(self) -> Tensor:
        """The bounds of each image, in the order of the split, (N, len(BOUNDS))."""
        indices, bounds = (
            torch.cat(state) if isinstance(state, list) else state
            for state in (self.indices, self.bounds)
        )
        return bounds[indices.argsort()]
