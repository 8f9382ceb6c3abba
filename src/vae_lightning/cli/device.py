"""The device that a command on a checkpoint runs on."""

from typing import TYPE_CHECKING

from vae_lightning.config import nearest
from vae_lightning.errors import ConfigError

if TYPE_CHECKING:  # loaded by what runs, not by --help
    import torch


def choose_device(name: str) -> "torch.device":
    """The device that the key `device` names: `auto` is the best one, `gpu` any but the CPU.

    Raises:
        ConfigError: there is no such device, or it is not available.
    """
    import torch

    available = ["cpu"]
    if torch.accelerator.is_available() and (best := torch.accelerator.current_accelerator()):
        available.append(best.type)
    if name == "auto" or (name == "gpu" and len(available) > 1):
        return torch.device(available[-1])
    if name not in available:
        known = ["auto", "cpu", "gpu", "cuda", "mps"]
        reason = "is not available" if name in known else f"is no device: {nearest(name, known)}"
        raise ConfigError(f"device={name} {reason}; torch finds {' and '.join(available)}")
    return torch.device(name)
