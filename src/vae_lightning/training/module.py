"""The LightningModule: steps, optimiser, and what is logged."""

import time
import warnings
from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vae_lightning import __version__
from vae_lightning.data.batches import Batch
from vae_lightning.errors import DivergedError
from vae_lightning.metrics import ImageAverage
from vae_lightning.models import Model
from vae_lightning.objectives import Objective
from vae_lightning.objectives.objective import TERMS
from vae_lightning.utils.data_dependent import DataDependent
from vae_lightning.utils.random_state import fixed_noise, random_state, set_random_state


class VAEModule(LightningModule):
    """Trains a model on an objective.

    Logged, in nats per image and averaged over images: `elbo`, `rate` and `distortion` of the
    model, and the objective's `loss`; as `train/...` over each epoch and, with the suffix `_step`,
    over the last few steps; as `val/...` and `test/...` with posterior samples drawn from a fixed
    seed. The first three are the same measure whatever the objective, up to sampling noise.

    Args:
        model: gives a `Trace` of a batch.
        objective: makes the loss of it.
        optimizer: makes the optimiser of the parameters.
        scheduler: makes the optimiser's schedule, stepped once per epoch.
        seed: of the training noise; each process draws from a stream of its own.
        config: the resolved configuration, kept in checkpoints so that they can be rebuilt.

    Attributes:
        seconds: how long the last training took, validation and callbacks included.
        step_means: the terms' means over the last few steps, in nats.
        images_trained: how many images this process drew in it, counted again in each epoch.
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
        self.evaluation = ImageAverage(TERMS)
        # Steps not yet read: images, and rate, distortion and loss.
        self._window: list[tuple[int, Tensor, Tensor, Tensor]] = []
        self._sums = dict.fromkeys(TERMS, 0.0)  # over the images of this epoch
        self._images = 0
        self.step_means: dict[str, float] = {}
        self._started = 0.0
        self.seconds = 0.0
        self.images_trained = 0
        self._resumed_state: dict[str, Tensor] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes the name of each hook that it calls, twice, and torch would look each time
        # whether the name is a parameter: a hundredth of a step.
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = self.make_optimizer(self.model.parameters())
        return {"optimizer": optimizer, "lr_scheduler": self.make_scheduler(optimizer)}

    # -- training ---------------------------------------------------------------------------------

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        # What `Optimizer.zero_grad` does, without the profiler's record that it opens each time: a
        # fiftieth of a step.
        for group in optimizer.param_groups:
            for weight in group["params"]:
                weight.grad = None

    def on_train_start(self) -> None:
        if self._resumed_state is not None and self.global_rank == 0:
            set_random_state(self._resumed_state)
        else:
            # A stream for each process; a process that resumes must not draw the old noise again.
            torch.manual_seed(self.seed + 7919 * self.global_rank + self.global_step)
        datamodule = getattr(self.trainer, "datamodule", None)  # plain loaders have none
        if self.global_step == 0 and datamodule is not None:
            for part in self.modules():
                if isinstance(part, DataDependent):
                    part.initialize_from(datamodule)
        self._resumed_state = None
        self._started = time.perf_counter()
        self.images_trained = 0

    def on_train_end(self) -> None:
        self.seconds = time.perf_counter() - self._started

    def on_train_epoch_start(self) -> None:
        # Before the epoch: at its end the schedule has moved on.
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.log("learning_rate", rate, sync_dist=True)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        step = self.global_step
        trace = self.model(images, self.objective.samples_at(step), labels)
        loss, _ = self.objective(trace, step)
        self._window.append(
            (len(images), trace.rate.detach(), trace.distortion.detach(), loss.detach())
        )
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        # Reading the terms waits for the device, so it is done once for many steps.
        if self.global_step % self._log_interval() == 0 or self.trainer.is_last_batch:
            self.step_means = self._read_window()
            # Lightning's own `log` would cost each of the other steps as well.
            for logger in self.loggers:
                tags = {f"train/{name}_step": mean for name, mean in self.step_means.items()}
                logger.log_metrics(tags, step=self.global_step)

    def on_train_epoch_end(self) -> None:
        means = self.epoch_means()
        self.log_dict({f"train/{name}": mean for name, mean in means.items()}, sync_dist=True)
        self._sums = dict.fromkeys(TERMS, 0.0)
        self._images = 0

    def epoch_means(self) -> dict[str, float]:
        """The terms' means over the images of this epoch so far, in nats."""
        self._read_window()  # a run that ends within an epoch leaves some steps unread
        return {name: total / self._images for name, total in self._sums.items()}

    def _log_interval(self) -> int:
        return self.trainer.log_every_n_steps  # type: ignore[attr-defined]

    def _read_window(self) -> dict[str, float]:
        """Add the steps not yet read to the epoch's sums, and return the terms' means over them."""
        if not self._window:
            return {}
        sizes = [size for size, *_ in self._window]
        terms = [_means(rate, distortion, loss) for _, rate, distortion, loss in self._window]
        rows = torch.stack(terms).tolist()  # waits for the device
        self._window.clear()
        for back, row in zip(range(len(rows) - 1, -1, -1), rows, strict=True):
            broken = {name for name, value in zip(TERMS, row, strict=True) if not isfinite(value)}
            if broken:
                parts = sorted(broken & {"rate", "distortion"}) or sorted(broken)
                raise DivergedError(
                    f"{' and '.join(parts)} stopped being finite at step {self.global_step - back}"
                )
        means = {}
        for name, column in zip(TERMS, zip(*rows, strict=True), strict=True):
            total = sum(size * value for size, value in zip(sizes, column, strict=True))
            self._sums[name] += total
            means[name] = total / sum(sizes)
        self._images += sum(sizes)
        self.images_trained += sum(sizes)
        return means

    # -- evaluation -------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        self.evaluation.reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        self._log_evaluation("val")

    def on_test_epoch_start(self) -> None:
        self.evaluation.reset()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        self._log_evaluation("test")

    def _evaluate(self, batch: Batch, batch_idx: int) -> None:
        images, labels = batch
        # A stream for each process and batch, whatever was drawn before.
        with fixed_noise(1_000_003 * self.global_rank + batch_idx, self.device):
            trace = self.model(images, self.objective.num_samples, labels)
            loss, _ = self.objective(trace, self.global_step)
        self.evaluation.update(_means(trace.rate, trace.distortion, loss), len(images))

    def _log_evaluation(self, stage: str) -> None:
        values = self.evaluation.compute()
        # All processes have the same values by now; saying so spares Lightning's advice to sync.
        tags = {f"{stage}/{name}": value for name, value in values.items()}
        self.log_dict(tags, sync_dist=True)

    # -- checkpoint -------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["config"] = self.config
        checkpoint["vae_lightning_version"] = __version__
        checkpoint["random_state"] = random_state(self.device)
        self._read_window()
        checkpoint["epoch_terms"] = {"sums": dict(self._sums), "images": self._images}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._resumed_state = checkpoint["random_state"]
        self._sums = dict(checkpoint["epoch_terms"]["sums"])
        self._images = checkpoint["epoch_terms"]["images"]
        if self.trainer.training:
            self._configure_resumed(checkpoint)

    def _configure_resumed(self, checkpoint: dict[str, Any]) -> None:
        """Put the configured optimiser's options and schedule into a checkpoint that is restored.

        Those that it holds are of the run before, which may have had fewer epochs to fall in. How
        far it had come, and the optimiser's moments, stay.
        """
        optimizer = self.make_optimizer(self.model.parameters())
        scheduler = self.make_scheduler(optimizer)
        with warnings.catch_warnings():
            # That the optimiser took no step in between.
            warnings.filterwarnings("ignore", ".*`lr_scheduler.step\\(\\)` before.*")
            for _ in range(checkpoint["lr_schedulers"][0]["last_epoch"]):
                scheduler.step()
        checkpoint["lr_schedulers"] = [scheduler.state_dict()]
        groups = optimizer.state_dict()["param_groups"]
        checkpoint["optimizer_states"][0]["param_groups"] = groups


def _means(rate: Tensor, distortion: Tensor, loss: Tensor) -> Tensor:
    """The terms, averaged over samples and images, (len(TERMS),)."""
    rate, distortion = rate.mean(), distortion.mean()
    return torch.stack([-distortion - rate, rate, distortion, loss])
