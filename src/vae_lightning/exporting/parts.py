"""The encoder and the decoder of a model as functions of tensors, to export."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from vae_lightning.models import VAE, Model


class Part(nn.Module, ABC):
    """A function of a model that is exported, with a fixed order of inputs and outputs.

    Args:
        model: in evaluation mode, on the CPU.
        first_input: name of the first input; the label of a conditional model is the second.

    Attributes:
        name: of the file.
        inputs: names of the inputs.
        outputs: names of the outputs.
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
        """Compute the outputs.

        Shape:
            inputs (B, ...), in the order of `self.inputs`; returns (B, ...), in the order of
            `self.outputs`.
        """

    @abstractmethod
    def example(self, count: int) -> tuple[Tensor, ...]:
        """Random inputs for a batch of `count`."""


class Encoder(Part):
    """Images to the mean of q(z|x), and to its scale if it is a diagonal normal.

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
            return (self.model.infer_means(*inputs),)
        return normal.loc, normal.scale

    def example(self, count: int) -> tuple[Tensor, ...]:
        images = torch.rand(count, *self.model.image_shape)
        labels = self.model.each_class_in_turn(count, images.device)
        return (images,) if labels is None else (images, labels)


class Decoder(Part):
    """Latents to the mean of p(x|z).

    Shape:
        latents float32 (B, D), label int64 (B,) for a conditional model; returns image
        (B, C, H, W).
    """

    name = "decoder"
    outputs = ("image",)

    def __init__(self, model: Model) -> None:
        super().__init__(model, "latents")

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return (self.model.decode_means(*inputs),)

    def example(self, count: int) -> tuple[Tensor, ...]:
        latents = self.model.sample_latents(count)
        labels = self.model.each_class_in_turn(count, latents.device)
        return (latents,) if labels is None else (latents, labels)


def _normal(model: Model, inputs: Sequence[Tensor]) -> Normal | None:
    posterior = model.infer_posterior(*inputs)
    base = posterior.base_dist if isinstance(posterior, Independent) else None
    return base if isinstance(base, Normal) else None
