"""The prior made of the posteriors of learned images."""

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    Normal,
)

from vae_lightning.distributions.flows import FlowDistribution
from vae_lightning.distributions.normal_mixture import NormalMixture
from vae_lightning.distributions.point_mass import PointMass
from vae_lightning.distributions.priors.prior import Encode, Prior
from vae_lightning.utils.checks import at_least
from vae_lightning.utils.data_dependent import DataDependent, TrainingImages

# A pixel that is black or white would ask for a logit without end.
_MARGIN = 0.01

# With more components, steps that score by inversion take seconds on a CPU.
_FEW = 10


class Vamp(DataDependent, Prior):
    r"""The mean of the posteriors of C learned images, the pseudo-inputs.

    .. math:: p(z) = \frac{1}{C} \sum_{c=1}^C q(z \mid u_c), \quad u_c \in [0, 1]^{CHW}

    It is where the posteriors are, whatever their kind; those that are normal with independent
    dimensions are the fast ones.

    Args:
        latent_dim: D; follows from the posteriors, and is not used.
        image_shape: (C, H, W), of the pseudo-inputs.
        num_components: C, how many pseudo-inputs.
        start_at_images: begin training with the first images of the training data as the
            pseudo-inputs, their pixels at most 0.01 off; those beyond the number of images, and
            without it all, start as noise around a dark grey.

    Shape:
        returns a distribution of batch shape () and the event shape of the posterior.

    Raises:
        ValueError: `num_components` below 1.

    References:
        Tomczak and Welling, "VAE with a VampPrior", 2018.
    """

    space = None

    log_weights: Tensor

    def __init__(
        self,
        latent_dim: int,
        image_shape: Sequence[int],
        num_components: int,
        start_at_images: bool,
    ) -> None:
        super().__init__()
        at_least("num_components", num_components, 1)
        self.start_at_images = start_at_images
        # Of a sigmoid: a clamp would hold back the gradient of all pixels outside of the range.
        self.logits = nn.Parameter(0.1 * torch.randn(num_components, *image_shape) - 2.0)
        equal = torch.full((num_components,), -math.log(num_components))
        self.register_buffer("log_weights", equal, persistent=False)

    @property
    def pseudo_inputs(self) -> Tensor:
        """The images of which the prior is made, (C, *image_shape), in [0, 1]."""
        return self.logits.sigmoid()

    @torch.no_grad()
    def initialize_from(self, data: TrainingImages) -> None:
        if self.start_at_images:
            images, _ = data.images("train", len(self.logits))
            self.logits[: len(images)] = torch.logit(images, eps=_MARGIN).to(self.logits)

    def forward(self, encode: Encode) -> Distribution:
        posterior = encode(self.pseudo_inputs)
        if isinstance(posterior, PointMass):
            raise ValueError(
                "a VampPrior is made of posteriors, and a deterministic one has no density: "
                "choose model/prior=standard_normal"
            )
        if isinstance(posterior, Independent) and isinstance(posterior.base_dist, Normal):
            normal = posterior.base_dist
            return NormalMixture(self.log_weights, normal.loc, normal.scale)
        if isinstance(posterior, FlowDistribution) and len(self.log_weights) > _FEW:
            warnings.warn(
                f"model.prior.num_components={len(self.log_weights)}: a posterior that is a flow "
                "scores each sample under each component by inversion, which is slow: set "
                f"model.prior.num_components={_FEW}, model.posterior.passes=2 (couplings, "
                "which are quick to invert), or model/posterior=diagonal_normal",
                stacklevel=2,
            )
        weights = Categorical(logits=self.log_weights, validate_args=False)
        return MixtureSameFamily(weights, posterior, validate_args=False)
