"""Checks of what users hand to a model. Those of values wait for the device; the others do not."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vae_lightning.utils.checks import at_least


def check_count(name: str, value: int, minimum: int = 1) -> None:
    """Check that a number is whole, and at least `minimum`.

    Raises:
        ValueError: it is not; the message starts with `name=value`.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name}={value} is not a whole number")
    at_least(name, value, minimum)


def check_tensor(name: str, value: object) -> None:
    """Check that a value is a tensor.

    Raises:
        ValueError: it is not; the message starts with its name.
    """
    if not isinstance(value, Tensor):
        kind = type(value).__name__
        raise ValueError(f"{name} must be a torch.Tensor and not a {kind}: use torch.as_tensor")


def _check_fits(name: str, value: Tensor, weight: Tensor) -> None:
    """Check the type and the device of floats against those of a model's weight."""
    if value.device != weight.device:
        raise ValueError(f"{name} on {value.device}: this model is on {weight.device}")
    # Autocast converts them.
    if value.dtype != weight.dtype and not torch.is_autocast_enabled(value.device.type):
        raise ValueError(f"{name} of {value.dtype}: this model takes {weight.dtype}")


def check_image_batch(x: Tensor, image_shape: tuple[int, ...], weight: Tensor) -> None:
    """Check the shape, type and device of images. It does not wait for the device.

    `len` of a tensor would fix the number of images of an exported graph.

    Args:
        x: the images.
        image_shape: (C, H, W), of the model.
        weight: any of the model's.

    Raises:
        ValueError: they are not a batch of images that the model takes, or there are none.
    """
    check_tensor("images", x)
    if x.dim() != 4 or x.shape[1:] != image_shape or x.shape[0] == 0:
        sizes = ", ".join(map(str, image_shape))
        raise ValueError(f"images of shape {tuple(x.shape)}: this model takes (B, {sizes})")
    if not x.is_floating_point():
        raise ValueError(f"images of {x.dtype}: give floats in [0, 1], such as bytes / 255")
    _check_fits("images", x, weight)


def check_images(x: Tensor, image_shape: tuple[int, ...], weight: Tensor) -> None:
    """Check that a tensor is a batch of images that a model takes, values included.

    Args:
        x: the images.
        image_shape: (C, H, W), of the model.
        weight: any of the model's.

    Raises:
        ValueError: another shape, type or device, no images, or a value outside of [0, 1].
    """
    check_image_batch(x, image_shape, weight)
    low, high = x.aminmax()
    if not (low >= 0 and high <= 1):
        raise ValueError(f"images from {low:.4g} to {high:.4g}: the values must be in [0, 1]")


def check_rows(latents: Tensor, size: int, name: str = "latents") -> None:
    """Check the last dimension of latents, and that they are floats.

    It does not wait for the device.

    Shape:
        latents (..., D).

    Raises:
        ValueError: they are not.
    """
    check_tensor(name, latents)
    if latents.dim() < 1 or latents.shape[-1] != size:
        raise ValueError(f"{name} of shape {tuple(latents.shape)}: this model takes (..., {size})")
    if not latents.is_floating_point():
        raise ValueError(f"{name} of {latents.dtype}: this model takes floats")


def check_latents(latents: Tensor, size: int, weight: Tensor) -> None:
    """Check the shape, type and device of latents in the form of `Model.latent_means`.

    Args:
        latents: to check.
        size: D.
        weight: any of the model's.

    Raises:
        ValueError: they do not fit the model, or there are none.
    """
    check_tensor("latents", latents)
    if latents.dim() != 2 or latents.shape[1] != size or len(latents) == 0:
        raise ValueError(f"latents of shape {tuple(latents.shape)}: this model takes (N, {size})")
    _check_fits("latents", latents, weight)


def check_samples(
    latents: Sequence[Tensor] | Tensor,
    events: Sequence[tuple[int, ...]],
    dtype: torch.dtype | None = None,
) -> None:
    """Check samples of all stochastic layers, as in `Latent.z`. It does not wait for the device.

    Args:
        latents: of each layer.
        events: the shape of one sample of each layer.
        dtype: of the samples; None for any floats.

    Shape:
        latents (K, B, *event) of each layer.

    Raises:
        ValueError: another number of layers, or another shape or type.
    """
    if not isinstance(latents, list | tuple) or len(latents) != len(events):
        several = isinstance(latents, list | tuple)
        given = f"{len(latents)} tensors" if several else f"one {type(latents).__name__}"
        raise ValueError(
            f"latents must be a list with a tensor for each of the {len(events)} layers, "
            f"and not {given}"
        )
    for z, event in zip(latents, events, strict=True):
        check_tensor("latents", z)
        if z.dim() != 2 + len(event) or z.shape[2:] != event:
            sizes = ", ".join(map(str, event))
            raise ValueError(
                f"latents of shape {tuple(z.shape)}: this layer takes (K, B, {sizes}), such as "
                "latents[None] for one sample of each image"
            )
        if not (z.is_floating_point() if dtype is None else z.dtype == dtype):
            raise ValueError(f"latents of {z.dtype}: this model takes {dtype or 'floats'}")


def check_maps(vectors: Tensor, map_shape: tuple[int, ...]) -> None:
    """Check the shape (..., E, h, w) of maps of vectors, and that they are floats.

    It does not wait for the device.

    Raises:
        ValueError: they have another shape or type.
    """
    check_tensor("vectors", vectors)
    if vectors.dim() < 4 or vectors.shape[-3:] != map_shape or not vectors.is_floating_point():
        sizes = ", ".join(map(str, map_shape))
        raise ValueError(
            f"vectors of {vectors.dtype} and shape {tuple(vectors.shape)}: this model takes "
            f"floats, (..., {sizes})"
        )


def check_codes(codes: Tensor, map_size: tuple[int, ...], num_codes: int) -> None:
    """Check that a tensor is maps of codes, (..., h, w), values included.

    Raises:
        ValueError: another shape or type, or a code that does not exist.
    """
    check_tensor("codes", codes)
    if codes.shape[-2:] != map_size or codes.dtype != torch.int64:
        sizes = ", ".join(map(str, map_size))
        raise ValueError(
            f"codes of {codes.dtype} and shape {tuple(codes.shape)}: they must be torch.int64, "
            f"(..., {sizes})"
        )
    if codes.numel() and not (codes.min() >= 0 and codes.max() < num_codes):
        raise ValueError(
            f"codes from {int(codes.min())} to {int(codes.max())}: they are 0 to {num_codes - 1}"
        )


def check_fractions(t: Tensor) -> None:
    """Check that fractions of a path are floats in one dimension.

    Raises:
        ValueError: they are not.
    """
    check_tensor("t", t)
    if t.dim() != 1 or not t.is_floating_point():
        raise ValueError(f"t of {t.dtype} and shape {tuple(t.shape)}: it must be floats, (T,)")
