"""Callbacks: what TensorBoard shows, and what happens on Ctrl-C."""

from vae_lightning.callbacks.interrupt import SaveOnInterrupt
from vae_lightning.callbacks.pictures import Pictures
from vae_lightning.callbacks.tensorboard import TensorBoardPages
from vae_lightning.callbacks.terminal import ModelSummary, ProgressBar

__all__ = [
    "ModelSummary",
    "Pictures",
    "ProgressBar",
    "SaveOnInterrupt",
    "TensorBoardPages",
]
