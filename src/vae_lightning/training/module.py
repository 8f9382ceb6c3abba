"""The LightningModule: optimiser, training and evaluation steps, what is logged and saved."""

import time
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch.utilities.types import LRSchedulerConfigType, OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from vae_lightning import __version__
from vae_lightning.data.batches import Batch, Batches
from vae_lightning.models import Model, Trace
from vae_lightning.objectives import Objective
from vae_lightning.objectives.objective import SCORE, TERMS
from vae_lightning.training.batch_checks import check_batches
from vae_lightning.training.freezing import freeze, keep_frozen
from vae_lightning.training.initial_weights import initialize_from_images
from vae_lightning.training.resuming import configure_resumed
from vae_lightning.training.scheduling import (
    Interval,
    MakeOptimizer,
    MakeScheduler,
    check_length,
    step_on_plateau,
)
from vae_lightning.training.step_overhead import LowOverheadModule
from vae_lightning.training.terms import TermSums, TrainedBatch, read, term_means
from vae_lightning.utils.processes import of_each_process
from vae_lightning.utils.random_state import fixed_noise, random_state, set_random_state
from vae_lightning.utils.steps import is_log_point


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
        scheduler: makes the optimiser's schedule; one that waits for a plateau is given `val/elbo`.
        interval: when the schedule steps: at the end of each `epoch`, or after each `step`.
        frozen: names of the parts of the model that are not trained; see `training.freezing`.
        trained: names of the parts that are not initialised from the training images, because they
            have trained weights.
        seed: of the training noise; each process draws from a stream of its own.
        config: the resolved configuration, saved in checkpoints so that the run can be rebuilt.

    Attributes:
        seconds: duration of the last training, validation and callbacks included, and of the
            training that it resumed.
        images_trained: number of images that were trained on in that time, by all processes; an
            image counts once per epoch.
        recent_means: the terms' means over the steps between the last two log points, in nats.
    """

    def __init__(
        self,
        model: Model,
        objective: Objective,
        optimizer: MakeOptimizer,
        scheduler: MakeScheduler,
        seed: int,
        config: dict[str, Any] | None = None,
        interval: Interval = "epoch",
        frozen: Sequence[str] = (),
        trained: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.interval = interval
        self.seed = seed
        self.config = config or {}
        self.frozen = freeze(model, frozen)
        self.trained = trained
        self.seconds = 0.0
        self.images_trained = 0
        self.recent_means: dict[str, float] = {}
        self._started = 0.0
        # Of the training that is resumed.
        self._resumed_seconds, self._resumed_images = 0.0, 0
        self._unread: list[TrainedBatch] = []
        self._epoch = TermSums()
        self._interval = TermSums()
        self._resumed_states: list[dict[str, Tensor]] = []

    # -- optimiser --------------------------------------------------------------------------------

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer, scheduler = self.optimizer_and_scheduler()
        schedule = LRSchedulerConfigType(scheduler=scheduler, interval=self.interval, monitor=SCORE)
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def optimizer_and_scheduler(self) -> tuple[Optimizer, LRScheduler]:
        """A new optimiser of the model's parameters, and a new schedule of its learning rate."""
        optimizer = self.make_optimizer(w for w in self.model.parameters() if w.requires_grad)
        return optimizer, self.make_scheduler(optimizer)

    def lr_scheduler_step(self, scheduler: LRScheduler, metric: Any) -> None:
        # Lightning would step on a plateau after the checkpoint of the epoch is saved, and a
        # resumed run would miss that step.
        if not isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step()

    def setup(self, stage: str) -> None:
        if getattr(self.trainer, "datamodule", None) is not None:  # plain loaders have none
            check_batches(self.trainer)

    # -- training ---------------------------------------------------------------------------------

    def on_train_start(self) -> None:
        if self.global_rank < len(self._resumed_states):
            set_random_state(self._resumed_states[self.global_rank])
        else:
            # A stream for each process; a process that resumes must not repeat the old noise.
            torch.manual_seed(self.seed + 7919 * self.global_rank + self.global_step)
        datamodule = getattr(self.trainer, "datamodule", None)  # plain loaders have none
        if self.global_step == 0 and datamodule is not None:
            initialize_from_images(self.model, self.objective, datamodule, self.trained)
        self._resumed_states = []
        check_length(self.trainer)
        # Not sooner, because Lightning warns of parts that are not in training mode by then.
        keep_frozen(self.frozen)
        self._started = time.perf_counter() - self._resumed_seconds
        self.images_trained = self._resumed_images
        self._resumed_seconds, self._resumed_images = 0.0, 0

    def on_train_epoch_start(self) -> None:
        # Logged before the epoch: at its end the scheduler has already stepped. Lightning's
        # LearningRateMonitor stops a run that has no logger.
        learning_rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.log("learning_rate", learning_rate, sync_dist=True)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        step = self.global_step
        trace = self.model(images, self.objective.samples_at(step), labels)
        loss = self._loss(trace, step)
        self._unread.append(
            TrainedBatch(
                step + 1, len(images), trace.rate.detach(), trace.distortion.detach(), loss.detach()
            )
        )
        loader = self.trainer.train_dataloader
        if isinstance(loader, Batches) and loader.shares:
            # The gradients of all processes are averaged, and each image counts the same in them.
            return loader.shares.popleft() * loss
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        if is_log_point(self.trainer, batch_idx):
            self._read_steps()
            self.recent_means = self._interval.means()
            self._interval = TermSums()
            tags = {f"train/{name}_step": mean for name, mean in self.recent_means.items()}
            # `self.log` would have to be called at every step.
            for logger in self.loggers:
                logger.log_metrics(tags, step=self.global_step)

    def on_train_epoch_end(self) -> None:
        means = self.epoch_means()
        self.log_dict({f"train/{name}": mean for name, mean in means.items()}, sync_dist=True)
        self._epoch = TermSums()
        self._log_step()
        step_on_plateau(self.trainer)

    def on_train_end(self) -> None:
        self.seconds = time.perf_counter() - self._started

    def epoch_means(self) -> dict[str, float]:
        """The terms' means over the images of this epoch so far, in nats."""
        self._read_steps()  # a run that ends within an epoch leaves some batches unread
        return self._epoch.means()

    def _loss(self, trace: Trace, step: int) -> Tensor:
        loss, _ = self.objective(trace, step)
        penalty = self.objective.weight_penalty(self.model)
        return loss if penalty is None else loss + penalty

    def _log_step(self) -> None:
        """Have loggers show the metrics of this epoch at the number of steps done.

        Lightning would show them one step earlier than the pictures and the `_step` metrics.
        """
        place = {"step": float(self.global_step), "epoch": float(self.current_epoch)}
        self.log_dict(place, sync_dist=True)

    def _read_steps(self) -> None:
        """Add the terms of the unread batches to those of the epoch and of the interval.

        Raises:
            DivergedError: a term is not finite.
        """
        if not self._unread:
            return
        unread, self._unread = self._unread, []
        for num_images, means in read(unread):
            self._epoch.add(num_images, means)
            self._interval.add(num_images, means)
            self.images_trained += num_images

    # -- evaluation -------------------------------------------------------------------------------

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate("val", batch, batch_idx)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate("test", batch, batch_idx)

    def _evaluate(self, stage: str, batch: Batch, batch_idx: int) -> None:
        images, labels = batch
        if len(images) == 0:  # processes take batches in turn, and none is left for this one
            means = torch.zeros(len(TERMS), device=self.device)
        else:
            # A fixed seed for each batch, whichever process it is that evaluates it.
            number = batch_idx * self.trainer.world_size + self.global_rank
            with fixed_noise(number, self.device):
                trace = self.model.chunked_trace(images, self.objective.num_samples, labels)
                loss = self._loss(trace, self.global_step)
            means = term_means(trace.rate, trace.distortion, loss)
        tags = {f"{stage}/{name}": mean for name, mean in zip(TERMS, means, strict=True)}
        # Lightning averages over all images of all processes, so a short last batch counts less.
        self.log_dict(tags, batch_size=len(images), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        self._log_step()

    def on_test_epoch_end(self) -> None:
        self._log_step()

    # -- checkpoint -------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["config"] = self.config
        checkpoint["vae_lightning_version"] = __version__
        first, *others = of_each_process(random_state(self.device))
        checkpoint["random_state"] = first
        checkpoint["random_states_of_other_processes"] = others
        if (reached := self.trainer.callback_metrics.get(SCORE)) is not None:
            checkpoint["val_elbo"] = float(reached)
        self._read_steps()
        checkpoint["epoch_terms"] = {"sums": dict(self._epoch.sums), "images": self._epoch.images}
        checkpoint["trained"] = {
            "seconds": time.perf_counter() - self._started,
            "images": self.images_trained,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        others = checkpoint.get("random_states_of_other_processes", [])  # not in older ones
        self._resumed_states = [checkpoint["random_state"], *others]
        self._epoch = TermSums(
            dict(checkpoint["epoch_terms"]["sums"]), checkpoint["epoch_terms"]["images"]
        )
        if self.trainer.training:
            trained = checkpoint.get("trained", {"seconds": 0.0, "images": 0})  # 0.1.0 has none
            self._resumed_seconds = trained["seconds"]
            self._resumed_images = trained["images"]
            optimizer, scheduler = self.optimizer_and_scheduler()
            message = configure_resumed(
                checkpoint, self.config, self.make_optimizer, optimizer, scheduler
            )
            if message and self.trainer.is_global_zero:
                print(message)
