"""Scores of a model by its likelihood."""

import math

from torch import Tensor

from vae_lightning.metrics.likelihood import BOUNDS


def likelihood_scores(bounds: Tensor, num_pixels: int) -> dict[str, float]:
    """Means over the images of what `ImageBounds` computed.

    Shape:
        bounds (N, len(BOUNDS)), in nats.
    """
    means = dict(zip(BOUNDS, bounds.mean(0).tolist(), strict=True))
    nll = bounds[:, 0]
    # One image has no standard error.
    spread = {"nll_standard_error": float(nll.std() / math.sqrt(len(nll)))} if len(nll) > 1 else {}
    return {
        "nll": means["nll"],
        **spread,
        "bits_per_dimension": means["nll"] / (num_pixels * math.log(2)),
        **{name: means[name] for name in BOUNDS[1:]},
    }
