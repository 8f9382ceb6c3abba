"""Conversions between bytes and floats."""

import torch

from vae_lightning.utils.pixels import to_float, to_uint8


def test_values_outside_black_and_white_are_clipped() -> None:
    images = torch.tensor([-0.3, 0.0, 0.1, 0.999, 1.0, 1.7])
    assert to_uint8(images).tolist() == [0, 0, 26, 255, 255, 255]


def test_the_images_that_are_converted_stay_as_they_are() -> None:
    floats = torch.tensor([0.2, 0.8])
    to_uint8(floats)
    assert floats.tolist() == torch.tensor([0.2, 0.8]).tolist()
    pixels = torch.tensor([0, 255], dtype=torch.uint8)
    to_float(pixels)
    assert pixels.tolist() == [0, 255]


def test_all_bytes_survive_the_way_to_floats_and_back() -> None:
    pixels = torch.arange(256).byte()
    floats = to_float(pixels)
    assert (floats.min(), floats.max()) == (0, 1)
    assert torch.equal(to_uint8(floats), pixels)
