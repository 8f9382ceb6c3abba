"""Callbacks: checkpoints, pictures, TensorBoard, the terminal, and Ctrl-C."""

from vae_lightning.callbacks.checkpoint import BestCheckpoint
from vae_lightning.callbacks.interrupt import SaveOnInterrupt
from vae_lightning.callbacks.pictures import Pictures
from vae_lightning.callbacks.tensorboard import TensorBoardPages
from vae_lightning.callbacks.terminal import ModelSummary, ProgressBar

__all__ = [
    "BestCheckpoint",
    "ModelSummary",
    "Pictures",
    "ProgressBar",
    "SaveOnInterrupt",
    "TensorBoardPages",
]
