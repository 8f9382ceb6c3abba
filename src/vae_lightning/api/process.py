"""The state of a Python process that a command changes: kept for the caller."""

import gc
import logging
import os
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from vae_lightning.cli.lightning_settings import LOGGERS


@contextmanager
def kept_state(arguments: list[str]) -> Iterator[None]:
    """Give a command the process of a command line, and leave it as it was found.

    Kept are: random states, Hydra's and torch's global settings, warning filters, levels of
    loggers, environment variables, frozen objects, the gradient mode and `sys.argv`.

    Args:
        arguments: of the command, for `sys.argv`.
    """
    with ExitStack() as kept:
        # Importing Lightning draws random numbers.
        kept.callback(random.setstate, random.getstate())
        kept.callback(_set_numpy_state, _numpy_state())
        # Before the filters of warnings are saved: these packages add some, which have to stay.
        import lightning  # noqa: F401
        import torch
        from hydra.core.global_hydra import GlobalHydra

        from vae_lightning.cli.device import choose_device
        from vae_lightning.utils.random_state import random_state, set_random_state

        kept.callback(set_random_state, random_state(choose_device("auto")))
        kept.callback(torch.set_num_threads, torch.get_num_threads())
        kept.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
        kept.callback(setattr, torch.backends.cudnn, "benchmark", torch.backends.cudnn.benchmark)
        kept.callback(
            torch.use_deterministic_algorithms,
            torch.are_deterministic_algorithms_enabled(),
            warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
        )
        if gc.get_freeze_count():  # a run freezes its own objects, and then unfreezes all there are
            kept.callback(gc.freeze)
        for name in LOGGERS:
            kept.callback(logging.getLogger(name).setLevel, logging.getLogger(name).level)
        kept.callback(_set_environment, dict(os.environ))
        kept.callback(setattr, sys, "argv", sys.argv)
        sys.argv = [sys.argv[0] if sys.argv else "", *arguments]
        # A program of the caller may be a job of Hydra itself, with a conf/ of its own.
        outer = GlobalHydra.instance().hydra
        # Hydra replaces the instance itself.
        kept.callback(lambda: setattr(GlobalHydra.instance(), "hydra", outer))
        GlobalHydra.instance().clear()
        kept.enter_context(warnings.catch_warnings())
        kept.enter_context(torch.inference_mode(False))  # which turns gradients on
        yield


def _numpy_state() -> object:
    import numpy as np

    return np.random.get_state()  # noqa: NPY002


def _set_numpy_state(state: object) -> None:
    import numpy as np

    np.random.set_state(state)  # type: ignore[arg-type]  # noqa: NPY002


def _set_environment(values: dict[str, str]) -> None:
    for name in os.environ.keys() - values.keys():
        del os.environ[name]
    os.environ.update(values)
