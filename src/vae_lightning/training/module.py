"""The LightningModule: optimiser, training and evaluation steps, what is logged and saved."""

import time
import warnings
from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any, NamedTuple

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vae_lightning import __version__
from vae_lightning.data.batches import Batch
from vae_lightning.errors import DivergedError
from vae_lightning.models import Model
from vae_lightning.objectives import Objective
from vae_lightning.objectives.objective import TERMS
from vae_lightning.training.step_overhead import LowOverheadModule
from vae_lightning.utils.data_dependent import DataDependent
from vae_lightning.utils.random_state import fixed_noise, random_state, set_random_state


class _Step(NamedTuple):
    """A training step whose terms are still on the device."""

    num_images: int
    rate: Tensor
    distortion: Tensor
    loss: Tensor


class VAEModule(LowOverheadModule):
    """Trains a model on an objective.

    Logged, in nats per image and averaged over images: `elbo`, `rate` and `distortion` of the
    model, and the objective's `loss`. `train/...` is the mean over an epoch, `train/..._step` the
    mean over the steps since the last log point; `val/...` and `test/...` use posterior samples
    drawn from a fixed seed. `elbo`, `rate` and `distortion` have the same definition whatever the
    objective.

    Args:
        model: makes a `Trace` of a batch.
        objective: makes the loss of a `Trace`.
        optimizer: makes the optimiser of the parameters.
        scheduler: makes the optimiser's schedule, stepped once per epoch.
        seed: of the training noise; each process draws from a stream of its own.
        config: the resolved configuration, saved in checkpoints so that the run can be rebuilt.

    Attributes:
        seconds: duration of the last training, validation and callbacks included.
        images_trained: number of images that this process trained on in the last training; an
            image counts once per epoch.
        recent_means: the terms' means over the steps between the last two log points, in nats.
    """

    def __init__(
        self,
        model: Model,
        objective: Objective,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        scheduler: Callable[[Optimizer], LRScheduler],
        seed: int,
        config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.seed = seed
        self.config = config or {}
        self.seconds = 0.0
        self.images_trained = 0
        self.recent_means: dict[str, float] = {}
        self._started = 0.0
        self._unread_steps: list[_Step] = []
        self._epoch_sums = dict.fromkeys(TERMS, 0.0)
        self._epoch_images = 0
        self._resumed_state: dict[str, Tensor] | None = None

    # -- optimiser --------------------------------------------------------------------------------

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = self.make_optimizer(self.model.parameters())
        return {"optimizer": optimizer, "lr_scheduler": self.make_scheduler(optimizer)}

    # -- training ---------------------------------------------------------------------------------

    def on_train_start(self) -> None:
        if self._resumed_state is not None and self.global_rank == 0:
            set_random_state(self._resumed_state)
        else:
            # A stream for each process; a process that resumes must not repeat the old noise.
            torch.manual_seed(self.seed + 7919 * self.global_rank + self.global_step)
        datamodule = getattr(self.trainer, "datamodule", None)  # plain loaders have none
        if self.global_step == 0 and datamodule is not None:
            for part in self.modules():
                if isinstance(part, DataDependent):
                    part.initialize_from(datamodule)
        self._resumed_state = None
        self._started = time.perf_counter()
        self.images_trained = 0

    def on_train_epoch_start(self) -> None:
        # Logged before the epoch: at its end the scheduler has already stepped. Lightning's
        # LearningRateMonitor stops a run that has no logger.
        learning_rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.log("learning_rate", learning_rate, sync_dist=True)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        step = self.global_step
        trace = self.model(images, self.objective.samples_at(step), labels)
        loss, _ = self.objective(trace, step)
        self._unread_steps.append(
            _Step(len(images), trace.rate.detach(), trace.distortion.detach(), loss.detach())
        )
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        interval: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if self.global_step % interval == 0 or self.trainer.is_last_batch:
            self.recent_means = self._read_steps()
            tags = {f"train/{name}_step": mean for name, mean in self.recent_means.items()}
            # `self.log` would have to be called at every step.
            for logger in self.loggers:
                logger.log_metrics(tags, step=self.global_step)

    def on_train_epoch_end(self) -> None:
        means = self.epoch_means()
        self.log_dict({f"train/{name}": mean for name, mean in means.items()}, sync_dist=True)
        self._epoch_sums = dict.fromkeys(TERMS, 0.0)
        self._epoch_images = 0

    def on_train_end(self) -> None:
        self.seconds = time.perf_counter() - self._started

    def epoch_means(self) -> dict[str, float]:
        """The terms' means over the images of this epoch so far, in nats."""
        self._read_steps()  # a run that ends within an epoch leaves some steps unread
        return {name: total / self._epoch_images for name, total in self._epoch_sums.items()}

    def _read_steps(self) -> dict[str, float]:
        """Add the unread steps to the epoch's sums, and return the terms' means over them.

        Raises:
            DivergedError: a term is not finite.
        """
        if not self._unread_steps:
            return {}
        terms = [_term_means(step.rate, step.distortion, step.loss) for step in self._unread_steps]
        sizes = [step.num_images for step in self._unread_steps]
        self._unread_steps.clear()
        # CPU-GPU sync point: one per log interval (50 steps by default) instead of one per step.
        rows = torch.stack(terms).tolist()
        for steps_ago, row in zip(range(len(rows) - 1, -1, -1), rows, strict=True):
            broken = {name for name, value in zip(TERMS, row, strict=True) if not isfinite(value)}
            if broken:
                # elbo and loss follow from the other two.
                parts = sorted(broken & {"rate", "distortion"}) or sorted(broken)
                step = self.global_step - steps_ago
                raise DivergedError(f"{' and '.join(parts)} stopped being finite at step {step}")
        num_images = sum(sizes)
        self._epoch_images += num_images
        self.images_trained += num_images
        means = {}
        for name, column in zip(TERMS, zip(*rows, strict=True), strict=True):
            total = sum(size * value for size, value in zip(sizes, column, strict=True))
            self._epoch_sums[name] += total
            means[name] = total / num_images
        return means

    # -- evaluation -------------------------------------------------------------------------------

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate("val", batch, batch_idx)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate("test", batch, batch_idx)

    def _evaluate(self, stage: str, batch: Batch, batch_idx: int) -> None:
        images, labels = batch
        # A fixed seed for each process and batch.
        with fixed_noise(1_000_003 * self.global_rank + batch_idx, self.device):
            trace = self.model.chunked_trace(images, self.objective.num_samples, labels)
            loss, _ = self.objective(trace, self.global_step)
        means = _term_means(trace.rate, trace.distortion, loss)
        tags = {f"{stage}/{name}": mean for name, mean in zip(TERMS, means, strict=True)}
        # Lightning averages over all images of all processes, so a short last batch counts less.
        self.log_dict(tags, batch_size=len(images), sync_dist=True)

    # -- checkpoint -------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["config"] = self.config
        checkpoint["vae_lightning_version"] = __version__
        checkpoint["random_state"] = random_state(self.device)
        self._read_steps()
        checkpoint["epoch_terms"] = {"sums": dict(self._epoch_sums), "images": self._epoch_images}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._resumed_state = checkpoint["random_state"]
        self._epoch_sums = dict(checkpoint["epoch_terms"]["sums"])
        self._epoch_images = checkpoint["epoch_terms"]["images"]
        if self.trainer.training:
            self._configure_resumed(checkpoint)

    def _configure_resumed(self, checkpoint: dict[str, Any]) -> None:
        """Replace the optimiser's options and the schedule in a checkpoint by the configured ones.

        The checkpoint holds those of the earlier run, whose schedule may have ended sooner. The
        optimiser's moments and the number of epochs done are kept.
        """
        optimizer = self.make_optimizer(self.model.parameters())
        scheduler = self.make_scheduler(optimizer)
        with warnings.catch_warnings():
            # The optimiser takes no steps here.
            warnings.filterwarnings("ignore", ".*`lr_scheduler.step\\(\\)` before.*")
            for _ in range(checkpoint["lr_schedulers"][0]["last_epoch"]):
                scheduler.step()
        checkpoint["lr_schedulers"] = [scheduler.state_dict()]
        groups = optimizer.state_dict()["param_groups"]
        checkpoint["optimizer_states"][0]["param_groups"] = groups


def _term_means(rate: Tensor, distortion: Tensor, loss: Tensor) -> Tensor:
    """The terms, averaged over samples and images, (len(TERMS),)."""
    rate, distortion = rate.mean(), distortion.mean()
    return torch.stack([-distortion - rate, rate, distortion, loss])
