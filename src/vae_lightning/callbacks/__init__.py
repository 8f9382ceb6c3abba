"""Callbacks: checkpoints, averaged weights, pictures, TensorBoard, the terminal, and Ctrl-C."""

from vae_lightning.callbacks.averaged_weights import AveragedWeights
from vae_lightning.callbacks.checkpoint import BestCheckpoint
from vae_lightning.callbacks.interrupt import SaveOnInterrupt
from vae_lightning.callbacks.pictures import Pictures
from vae_lightning.callbacks.progress_bar import ProgressBar
from vae_lightning.callbacks.tensorboard import TensorBoardPages
from vae_lightning.callbacks.terminal import ModelSummary

__all__ = [
    "AveragedWeights",
    "BestCheckpoint",
    "ModelSummary",
    "Pictures",
    "ProgressBar",
    "SaveOnInterrupt",
    "TensorBoardPages",
]
