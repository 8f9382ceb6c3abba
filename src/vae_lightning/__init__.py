"""Variational autoencoders in PyTorch Lightning.

Importing this package loads neither torch nor lightning; what it hands on does, when it is used.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vae_lightning.api.commands import detect, evaluate, export, generate, train
    from vae_lightning.api.fitting import fit
    from vae_lightning.api.runs import Run, load_run
    from vae_lightning.api.transformer import VAETransformer
    from vae_lightning.checkpoint import load
    from vae_lightning.errors import UserError

__version__ = "0.1.0"
__all__ = [
    "Run",
    "UserError",
    "VAETransformer",
    "__version__",
    "detect",
    "evaluate",
    "export",
    "fit",
    "generate",
    "load",
    "load_run",
    "train",
]

# The module that each name is taken from when it is first used.
_HOMES = {
    "Run": "api.runs",
    "UserError": "errors",
    "VAETransformer": "api.transformer",
    "detect": "api.commands",
    "evaluate": "api.commands",
    "export": "api.commands",
    "fit": "api.fitting",
    "generate": "api.commands",
    "load": "checkpoint",
    "load_run": "api.runs",
    "train": "api.commands",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """Keeps `train` the function, whoever imports the module of that name.

    The command `python -m vae_lightning.train` is a module, and the import system sets every module
    as an attribute of its package. It stays in `sys.modules`, from where
    `from vae_lightning.train import main` takes it.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
