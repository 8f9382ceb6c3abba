"""The VampPrior: a mixture of posteriors."""

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from vae_lightning.distributions.equal_mixture import EqualMixture
from vae_lightning.distributions.flows import FlowDistribution
from vae_lightning.distributions.normal_mixture import NormalMixture
from vae_lightning.distributions.point_mass import PointMass
from vae_lightning.distributions.priors.prior import Encode, Prior
from vae_lightning.utils.checks import at_least
from vae_lightning.utils.data_dependent import DataDependent, TrainingImages

# Pixels are clamped to this distance from 0 and 1, where the logit is infinite.
_MARGIN = 0.01

# With more components, a step that inverts a flow takes seconds on a CPU.
_MAX_INVERTED = 10


class Vamp(DataDependent, Prior):
    r"""The mixture of the posteriors of C learned images, the pseudo-inputs.

    .. math:: p(z) = \frac{1}{C} \sum_{c=1}^C q(z \mid u_c), \quad u_c \in [0, 1]^{CHW}

    It works with any posterior that has a density, in any space; posteriors that are diagonal
    normals are the fastest.

    Args:
        latent_dim: D; not used, since it follows from the posteriors.
        image_shape: (C, H, W), of the pseudo-inputs.
        num_components: C, number of pseudo-inputs.
        start_at_images: initialise the pseudo-inputs with the first training images, with pixels
            clamped to [0.01, 0.99]. Otherwise, and for components beyond the number of images, the
            initial values are noise around a dark grey.

    Shape:
        returns a distribution of batch shape () and the event shape of the posterior.

    Raises:
        ValueError: `num_components` below 1.

    References:
        Tomczak and Welling, "VAE with a VampPrior", 2018. https://arxiv.org/abs/1705.07120

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> prior = Vamp(20, image_shape=(1, 28, 28), num_components=500, start_at_images=False)
        >>> def encode(images):
        ...     return Independent(Normal(images.flatten(1)[:, :20], 1.0), 1)
        >>> prior(encode).log_prob(torch.randn(128, 20)).shape
        torch.Size([128])
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
        # Pixels are the sigmoid of logits: a clamp has no gradient outside its range.
        self.logits = nn.Parameter(0.1 * torch.randn(num_components, *image_shape) - 2.0)
        equal = torch.full((num_components,), -math.log(num_components))
        self.register_buffer("log_weights", equal, persistent=False)

    @property
    def pseudo_inputs(self) -> Tensor:
        """The learned images, (C, *image_shape), in [0, 1]."""
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
                "a VampPrior is a mixture of posteriors, and a deterministic one has no density: "
                "choose model/prior=standard_normal"
            )
        if isinstance(posterior, Independent) and isinstance(posterior.base_dist, Normal):
            normal = posterior.base_dist
            return NormalMixture(self.log_weights, normal.loc, normal.scale)
        if isinstance(posterior, FlowDistribution) and len(self.log_weights) > _MAX_INVERTED:
            warnings.warn(
                f"model.prior.num_components={len(self.log_weights)}: a posterior that is a flow "
                "is inverted for each sample and component, which is slow: set "
                f"model.prior.num_components={_MAX_INVERTED}, model.posterior.passes=2 (couplings, "
                "which are fast to invert), or model/posterior=diagonal_normal",
                stacklevel=2,
            )
        return EqualMixture(posterior)
