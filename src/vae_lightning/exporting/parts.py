"""The functions of a model that an export writes, as tensors to tensors."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from vae_lightning.models import VAE, Model


class Part(nn.Module, ABC):
    """One of the two functions that are written: tensors to tensors, in a fixed order.

    Args:
        model: in evaluation mode, on the CPU.

    Attributes:
        name: of its file.
        inputs: names of what it takes.
        outputs: names of what it returns.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __init__(self, model: Model, first_input: str) -> None:
        super().__init__()
        self.model = model
        self.inputs = (first_input, *(("label",) if model.num_classes is not None else ()))

    @abstractmethod
    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The function.

        Shape:
            inputs (B, ...), in the order of `inputs`; returns (B, ...), in that of `outputs`.
        """

    @abstractmethod
    def example(self, count: int) -> tuple[Tensor, ...]:
        """Inputs of noise for so many images."""


class Encoder(Part):
    """From images to the means of q(z|x), and its scales where it is a diagonal normal.

    Shape:
        image float32 (B, C, H, W) in [0, 1], label int64 (B,) for a conditional model; returns
        mean (B, D), and scale (B, D).
    """

    name = "encoder"

    def __init__(self, model: Model) -> None:
        super().__init__(model, "image")
        self.has_scale = isinstance(model, VAE) and _normal(model, self.example(1)) is not None
        self.outputs = ("mean", "scale") if self.has_scale else ("mean",)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        normal = _normal(self.model, inputs) if self.has_scale else None
        if normal is None:
            return (self.model.latent_means(*inputs),)
        return normal.loc, normal.scale

    def example(self, count: int) -> tuple[Tensor, ...]:
        images = torch.rand(count, *self.model.image_shape)
        labels = self.model.each_class_in_turn(count, images.device)
        return (images,) if labels is None else (images, labels)


class Decoder(Part):
    """From latents to the mean of p(x|z).

    Shape:
        latents float32 (B, D), label int64 (B,) for a conditional model; returns image
        (B, C, H, W).
    """

    name = "decoder"
    outputs = ("image",)

    def __init__(self, model: Model) -> None:
        super().__init__(model, "latents")

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return (self.model.mean_images(*inputs),)

    def example(self, count: int) -> tuple[Tensor, ...]:
        latents = self.model.sample_latents(count)
        labels = self.model.each_class_in_turn(count, latents.device)
        return (latents,) if labels is None else (latents, labels)


def _normal(model: Model, inputs: Sequence[Tensor]) -> Normal | None:
    posterior = model.encode(*inputs)
    base = posterior.base_dist if isinstance(posterior, Independent) else None
    return base if isinstance(base, Normal) else None
