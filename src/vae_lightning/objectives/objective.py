"""The base class of objectives."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from vae_lightning.models.model import Model
from vae_lightning.models.trace import Trace
from vae_lightning.utils.checks import at_least
from vae_lightning.utils.precision import at_least_float32

# The quantities that are logged for every model and objective, in nats per image.
TERMS = ("elbo", "rate", "distortion", "loss")

# What checkpoints, learning rates and sweeps look at by default.
SCORE = "val/elbo"


class Objective(nn.Module, ABC):
    """The loss as a function of a `Trace`.

    Args:
        num_samples: K, number of posterior samples.

    Raises:
        ValueError: `num_samples` below 1.
    """

    def __init__(self, num_samples: int) -> None:
        super().__init__()
        at_least("num_samples", num_samples, 1)
        self.num_samples = num_samples

    def check_model(self, model: Model) -> None:
        """Check what a trace does not show: that the objective is defined for a model.

        Raises:
            ValueError: it is not; the message names options that fit.
        """

    def weight_penalty(self, model: Model) -> Tensor | None:
        """A penalty on the weights of the model, which is added to the loss; None if there is none.

        Shape:
            returns a scalar.
        """
        return None

    def samples_at(self, step: int) -> int:
        """Number of posterior samples in a training step; validation uses `num_samples`."""
        return self.num_samples

    def forward(self, trace: Trace, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss in nats per image, and named parts of it to be logged.

        The auxiliary losses of the model are added to that of the objective.

        Shape:
            returns a scalar, and scalars by name.

        Raises:
            ValueError: the objective is not defined for this model; the message names options
                that fit.
        """
        loss, parts = self.loss(trace, step)
        for name, values in trace.auxiliary.items():
            parts[name] = at_least_float32(values).mean()
            loss = loss + parts[name]
        return loss, parts

    @abstractmethod
    def loss(self, trace: Trace, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the same without the auxiliary losses of the model."""
