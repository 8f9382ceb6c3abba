"""The bounds of each image, computed by the processes of a Trainer."""

from collections.abc import Callable

import torch
from lightning import LightningModule
from torch import Tensor

from vae_lightning.data.batches import Batch, ResidentBatches
from vae_lightning.metrics import ImageBounds
from vae_lightning.models import Model

# Images per step of the progress bar.
_BATCH = 20


class BoundsModule(LightningModule):
    """Computes the bounds of each image, spread over the processes of a Trainer.

    Args:
        model: in evaluation mode.
        images: uint8 (N, C, H, W).
        labels: int64 (N,).
        num_samples: K.
        seed: of the noise.
        advance: is called with the number of images that are done.
    """

    def __init__(
        self,
        model: Model,
        images: Tensor,
        labels: Tensor,
        num_samples: int,
        seed: int,
        advance: Callable[[int], None],
    ) -> None:
        super().__init__()
        self.model = model
        self.images = images
        self.labels = labels
        self.metric = ImageBounds(num_samples, seed)
        self.advance = advance
        self.bounds = torch.empty(0)

    def test_dataloader(self) -> ResidentBatches:
        process = (self.trainer.global_rank, self.trainer.world_size)
        # The index of each image in the split stands where its label would.
        indices = torch.arange(len(self.images))
        return ResidentBatches(self.images, indices, _BATCH, process=process)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        images, indices = batch
        self.metric.update(self.model, images, indices, self.labels[indices].to(images.device))
        self.advance(len(images))

    def on_test_epoch_end(self) -> None:
        self.bounds = self.metric.compute().cpu()
