"""Models: compositions that turn a batch of images into a `Trace`."""

from vae_lightning.models.model import Model
from vae_lightning.models.trace import Latent, Trace
from vae_lightning.models.vae import VAE

__all__ = ["VAE", "Latent", "Model", "Trace"]
