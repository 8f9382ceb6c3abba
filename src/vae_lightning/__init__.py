"""Variational autoencoders in PyTorch Lightning.

Importing this package loads neither torch nor lightning; `load` does, when it is first asked for.
"""

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from vae_lightning.checkpoint import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
