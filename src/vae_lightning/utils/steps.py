"""Where the batches of an epoch complete steps of the optimiser."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning import Trainer


def completes_step(trainer: "Trainer", batch_idx: int) -> bool:
    """Whether the optimiser steps after a batch.

    With `accumulate_grad_batches` above 1, it does so after every so many batches and after the
    last one of an epoch; the others only add to the gradients.

    Args:
        trainer: in training.
        batch_idx: the number of the batch in its epoch, from 0.
    """
    state: Any = trainer
    return (batch_idx + 1) % state.accumulate_grad_batches == 0 or state.is_last_batch


def is_log_point(trainer: "Trainer", batch_idx: int) -> bool:
    """Whether the terms of training are read after a batch.

    They are at the end of an epoch and after every `log_every_n_steps` steps of the optimiser.

    Args:
        trainer: in training, after the step.
        batch_idx: the number of the batch in its epoch, from 0.
    """
    state: Any = trainer
    return state.is_last_batch or (
        state.global_step % state.log_every_n_steps == 0 and completes_step(trainer, batch_idx)
    )
