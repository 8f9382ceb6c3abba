"""Networks between images, features and latents; the distributions' heads are not part of them."""

from vae_lightning.networks.mlp import MLPDecoder, MLPEncoder

__all__ = ["MLPDecoder", "MLPEncoder"]
