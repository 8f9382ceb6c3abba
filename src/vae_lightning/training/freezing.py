"""Parts of a model that are not trained: `freeze`."""

from collections.abc import Collection, Iterable, Sequence

from torch import nn

from vae_lightning.config import nearest
from vae_lightning.distributions.posteriors.posterior import Posterior
from vae_lightning.distributions.priors.prior import Prior
from vae_lightning.errors import ConfigError


def freeze(model: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """Take parts of a model out of training: their parameters have no gradients from now on.

    Gradients still flow through a frozen part, to the parts before it.

    Args:
        model: changed in place.
        names: what the model calls the parts, such as `encoder`.

    Returns:
        the parts.

    Raises:
        ConfigError: the model has no such part, or nothing is left to train.
    """
    parts = dict(model.named_children())
    for name in names:
        if name not in parts:
            raise ConfigError(
                f"freeze={_listed(names)}: {type(model).__name__} has no part {name}: "
                f"{nearest(name, parts)}"
            )
    frozen = [parts[name] for name in names]
    for part in frozen:
        part.requires_grad_(False)
    if not any(weight.requires_grad for weight in model.parameters()):
        trained = [name for name, part in parts.items() if any(True for _ in part.parameters())]
        raise ConfigError(
            f"freeze={_listed(names)} leaves nothing to train: leave out one of "
            f"{', '.join(trained)}"
        )
    return frozen


def keep_frozen(parts: Iterable[nn.Module]) -> None:
    """Put frozen parts into evaluation mode, so that a training step does not change them.

    Otherwise batch normalisation would update its averages, a likelihood its scale and a codebook
    its codes, and dropout would add noise. A posterior and a prior themselves, without their
    layers, stay in the mode of the model: in training, categorical latents are relaxed, so that the
    parts before them have a gradient.
    """
    for part in parts:
        for layer in part.modules():
            if not isinstance(layer, Posterior | Prior):
                layer.training = False


def describe_frozen(model: nn.Module, names: Sequence[str], untrained: Collection[str]) -> str:
    """The parts that are frozen, and how many parameters are trained.

    Args:
        model: after `freeze`.
        names: of the frozen parts.
        untrained: those of them that have not been trained before either.
    """
    counts = [(weight.numel(), weight.requires_grad) for weight in model.parameters()]
    trained = sum(count for count, trains in counts if trains)
    parts = ", ".join(f"{name} (untrained)" if name in untrained else name for name in names)
    total = sum(count for count, _ in counts)
    return f"{parts}; {trained:,} of {total:,} parameters are trained"


def _listed(names: Sequence[str]) -> str:
    return f"[{','.join(names)}]"
