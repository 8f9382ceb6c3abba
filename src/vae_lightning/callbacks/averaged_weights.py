"""An exponential moving average of the weights."""

from typing import Any

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import PARAM_LIST

from vae_lightning.utils.checks import fraction


class AveragedWeights(WeightAveraging):
    r"""Validates, saves and tests an exponential moving average of the weights.

    .. math:: \bar\theta_n = d_n \bar\theta_{n-1} + (1 - d_n)\, \theta_n, \quad
              d_n = \min\!\Big(d, \frac{1 + n}{10 + n}\Big)

    in step n + 1 of the optimiser, from the weights after its first step on. With a constant decay,
    the average of a short run would still be close to its first weights. Before the first step, the
    average is the weights themselves. Buffers are averaged like weights; integers are copied.

    Args:
        decay: d, in [0, 1].

    Raises:
        ValueError: `decay` outside [0, 1].
    """

    def __init__(self, decay: float) -> None:
        fraction("decay", decay)
        super().__init__(multi_avg_fn=self._update)
        self.decay = decay

    @property
    def state_key(self) -> str:
        # The name of Lightning's callback, which wrote the state in older checkpoints.
        return "EMAWeightAveraging"

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage == "fit" and self._average_model is not None:
            # torch reads it in every step, which on a GPU would wait for the device.
            self._average_model.n_averaged = self._average_model.n_averaged.cpu()
            # Lightning converts the model later, and the average not at all.
            trainer.precision_plugin.convert_module(self._average_model)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        average = self._average_model
        if average is not None and average.n_averaged == 0:
            # Parts of the model may have been initialised from the images since `setup`.
            average.module.load_state_dict(pl_module.state_dict())

    def _update(self, averages: PARAM_LIST, weights: PARAM_LIST, _: Tensor | int) -> None:
        assert self._average_model is not None
        updates = int(self._average_model.n_averaged)
        kept = min(self.decay, (1 + updates) / (10 + updates))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, weights, 1 - kept)
        else:
            torch._foreach_copy_(averages, weights)
