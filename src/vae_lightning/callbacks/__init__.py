"""Callbacks: checkpoints, averaged weights, pictures, histograms, loggers, the terminal, Ctrl-C."""

from vae_lightning.callbacks.averaged_weights import AveragedWeights
from vae_lightning.callbacks.checkpoint import BestCheckpoint
from vae_lightning.callbacks.histograms import DebugHistograms
from vae_lightning.callbacks.interrupt import SaveOnInterrupt
from vae_lightning.callbacks.pictures import Pictures
from vae_lightning.callbacks.progress_bar import ProgressBar
from vae_lightning.callbacks.tensorboard import TensorBoardPages
from vae_lightning.callbacks.terminal import ModelSummary

__all__ = [
    "AveragedWeights",
    "BestCheckpoint",
    "DebugHistograms",
    "ModelSummary",
    "Pictures",
    "ProgressBar",
    "SaveOnInterrupt",
    "TensorBoardPages",
]
