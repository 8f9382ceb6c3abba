"""What every objective does."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from vae_lightning.models.model import Model
from vae_lightning.models.trace import Trace
from vae_lightning.utils.checks import at_least

# The quantities that are logged of every model and objective: nats per image.
TERMS = ("elbo", "rate", "distortion", "loss")


class Objective(nn.Module, ABC):
    """Makes of a `Trace` the scalar that is minimised.

    Args:
        num_samples: K, how many posterior samples it wants.

    Raises:
        ValueError: `num_samples` below 1.
    """

    def __init__(self, num_samples: int) -> None:
        super().__init__()
        at_least("num_samples", num_samples, 1)
        self.num_samples = num_samples

    def check_model(self, model: Model) -> None:
        """Refuse a model of which this has no meaning, where no trace shows that it has none.

        Raises:
            ValueError: it is such a model; the message says what would do.
        """

    def samples_at(self, step: int) -> int:
        """How many posterior samples a step of training takes; validation takes `num_samples`."""
        return self.num_samples

    def forward(self, trace: Trace, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, in nats per image, and named parts worth logging.

        The model's own further losses are added to those of the objective.

        Shape:
            returns a scalar, and scalars by name.

        Raises:
            ValueError: the objective has no meaning for a model of this kind; the message says for
                which it has.
        """
        loss, parts = self.loss(trace, step)
        for name, values in trace.auxiliary.items():
            parts[name] = values.mean()
            loss = loss + parts[name]
        return loss, parts

    @abstractmethod
    def loss(self, trace: Trace, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The same without the model's own further losses."""
