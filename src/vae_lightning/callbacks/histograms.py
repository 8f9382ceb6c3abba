"""Histograms of the posterior, and norms of gradients: for looking into a run that goes wrong."""

from collections.abc import Callable
from typing import Any

import torch
from lightning import Callback, Trainer
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from vae_lightning.callbacks.tensorboard import writers
from vae_lightning.metrics.latents import inferred
from vae_lightning.utils.checks import at_least
from vae_lightning.utils.precision import at_least_float32
from vae_lightning.utils.random_state import fixed_noise


class DebugHistograms(Callback):
    """Writes histograms of the posteriors' means and scales, and norms and histograms of gradients.

    After each epoch, TensorBoard's HISTOGRAMS and DISTRIBUTIONS have `posterior/mean` and, if the
    posterior has one, `posterior/scale`, over images and latent dimensions, for each stochastic
    layer; and `gradient/<part>` of the last step, for each part of the model. All loggers have
    `gradient_norm/<part>` of every `trainer.log_every_n_steps`-th step. Gradients are those before
    they are clipped.

    Args:
        num_images: of validation, or of training where there is no validation.

    Raises:
        ValueError: `num_images` below 1.
    """

    def __init__(self, num_images: int) -> None:
        at_least("num_images", num_images, 1)
        self.num_images = num_images

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: Any, optimizer: Optimizer
    ) -> None:
        step = trainer.global_step + 1
        last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        logs = step % trainer.log_every_n_steps == 0  # type: ignore[attr-defined]
        if not (logs or last):
            return
        gradients = _gradients(pl_module.model)
        if logs:
            norms = {
                f"gradient_norm/{part}": float(get_total_norm(values))
                for part, values in gradients.items()
            }
            for logger in trainer.loggers:
                logger.log_metrics(norms, step)
        if last:
            for part, values in gradients.items():
                _add(trainer, f"gradient/{part}", torch.cat([x.flatten() for x in values]), step)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        split = "val" if data.num_images["val"] else "train"
        images, labels = data.images(split, self.num_images)
        images = images.to(pl_module.dtype)
        training = [part for part in pl_module.modules() if part.training]
        pl_module.eval()
        with fixed_noise(0, pl_module.device):
            batches = inferred(pl_module.model, images, labels)
        for part in training:
            part.training = True
        layers = list(zip(*batches, strict=True))
        for number, latents in enumerate(layers, start=1):
            layer = f"_layer_{number}" if len(layers) > 1 else ""
            posteriors = [latent.posterior for latent in latents]
            means = _all(lambda posterior: posterior.mean, posteriors)
            scales = _all(lambda posterior: posterior.stddev, posteriors)
            for name, values in (("mean", means), ("scale", scales)):
                if values is not None:
                    _add(trainer, f"posterior/{name}{layer}", values, trainer.global_step)


def _gradients(model: torch.nn.Module) -> dict[str, list[Tensor]]:
    """The gradients of the model's parts that have any."""
    parts = {
        name: [weight.grad for weight in part.parameters() if weight.grad is not None]
        for name, part in model.named_children()
    }
    return {name: values for name, values in parts.items() if values}


def _all(value: Callable[[Any], Tensor], posteriors: list[Any]) -> Tensor | None:
    """A value of all posteriors, flat; None if they do not have it."""
    try:
        return torch.cat([value(posterior).flatten() for posterior in posteriors])
    except NotImplementedError:
        return None


def _add(trainer: Trainer, tag: str, values: Tensor, step: int) -> None:
    for writer in writers(trainer):
        writer.add_histogram(tag, at_least_float32(values).cpu(), step)
