"""Lightning's settings for a command line."""

import logging
import os
import warnings

# Lightning sets the levels of its root loggers when it is imported, but not of these.
LOGGERS = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
    "lightning.fabric.utilities.distributed",
    "lightning.pytorch.trainer.connectors.checkpoint_connector",
    "lightning.pytorch.trainer.connectors.signal_connector",
)

# Advice to programmers, which a user of a command cannot follow.
_HIDDEN_WARNINGS = (
    r".*isinstance\(treespec, LeafSpec\).*",  # inside lightning's own tree functions
    r".*Checkpoint directory .* exists and is not empty.*",
    r".*You defined a `validation_step` but have no `val_dataloader`.*",
    r".*Detected call of `lr_scheduler.step\(\)` before `optimizer.step\(\)`.*",
    r".*is smaller than the logging interval.*",
    r".*The `srun` command is available.*",  # the jobs of a sweep are one task each
    r".*Total length of .* across ranks is zero.*",
)


def quiet_lightning() -> None:
    """Hide Lightning's notes to programmers; nothing is imported, and warnings to users stay."""
    # Lightning has torch look for NVIDIA's library whenever it is asked for CUDA, and Adam asks at
    # each step.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _HIDDEN_WARNINGS:
        warnings.filterwarnings("ignore", message)
