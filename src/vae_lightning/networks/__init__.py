"""Encoders, from images to features, and decoders, from latents to features."""

from vae_lightning.networks.mlp import MLPDecoder, MLPEncoder

__all__ = ["MLPDecoder", "MLPEncoder"]
