"""Names of the quantities that the elbo and the nll of a model bound."""

from vae_lightning.data import ImageDataModule
from vae_lightning.distributions.likelihoods.likelihood import PixelType
from vae_lightning.distributions.posteriors.deterministic import Deterministic
from vae_lightning.models import Model

NO_BOUND = "log p(x, z) of codes without noise: no bound on log p(x)"
SOFT_BOUND = "cross-entropy of grey pixels: not comparable with published NLLs"
BOUND_NAMES: dict[PixelType, str] = {
    "binary": "bound on log p(x)",
    "discrete": "bound on log p(x), a probability of images of 256 grey values",
    "continuous": "bound on a log-density, which may be above 0: comparable with densities only",
}


def has_bound(model: Model) -> bool:
    """Whether the model's posteriors have densities, so that its elbo and nll are bounds."""
    return not any(isinstance(part, Deterministic) for part in model.modules())


def bound_name(data: ImageDataModule, model: Model) -> str:
    """The quantity that the elbo of a model bounds on some data."""
    if not has_bound(model):
        return NO_BOUND
    pixels = model.likelihood.pixel_type
    if pixels == "binary" and data.protocol.binarize == "none":
        return SOFT_BOUND
    return BOUND_NAMES[pixels]
