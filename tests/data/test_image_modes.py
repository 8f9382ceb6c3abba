"""Files of every pixel type are read with the right brightness, or refused by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vae_lightning.data.image_files import read_image, read_inputs
from vae_lightning.data.image_folder import ImageFolder
from vae_lightning.errors import DataError

GREY = 60  # of the left half; the right half is white, or transparent


def two_halves(mode: str, left: Any, right: Any) -> Image.Image:
    image = Image.new(mode, (8, 8), right)
    image.paste(left, (0, 0, 4, 8))
    return image


def halves(path: Path, channels: int) -> list[tuple[int, ...]]:
    """The colour of the left and of the right half, each of which has one colour."""
    image = read_image(path, channels)
    assert image.dtype == torch.uint8
    assert image.shape == (channels, 8, 8)
    parts = [image[:, :, :4].flatten(1), image[:, :, 4:].flatten(1)]
    assert all((part == part[:, :1]).all() for part in parts)
    return [tuple(part[:, 0].tolist()) for part in parts]


def palette_with_alpha(path: Path) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([GREY] * 3 + [0, 0, 0])
    image.paste(0, (0, 0, 4, 8))
    image.save(path, transparency=1)


def animation_with_a_transparent_ground(path: Path) -> None:
    frames = [two_halves("RGBA", (grey, grey, grey, 255), (0, 0, 0, 0)) for grey in (GREY, 200)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("l.png", two_halves("L", GREY, 255)),
        ("rgb.png", two_halves("RGB", (GREY,) * 3, (255,) * 3)),
        ("rgba.png", two_halves("RGBA", (GREY, GREY, GREY, 255), (0, 0, 0, 0))),
        ("la.png", two_halves("LA", (GREY, 255), (0, 0))),
        ("la.tif", two_halves("LA", (GREY, 255), (0, 0))),
        ("rgba.tif", two_halves("RGBA", (GREY, GREY, GREY, 255), (0, 0, 0, 0))),
        ("rgba.webp", two_halves("RGBA", (GREY, GREY, GREY, 255), (0, 0, 0, 0))),
        ("pa.tif", two_halves("RGBA", (GREY, GREY, GREY, 255), (0, 0, 0, 0)).convert("PA")),
        ("cmyk.tif", two_halves("RGB", (GREY,) * 3, (255,) * 3).convert("CMYK")),
        ("lab.tif", two_halves("LAB", (64, 128, 128), (255, 128, 128))),
        ("p.png", palette_with_alpha),
        ("frames.gif", animation_with_a_transparent_ground),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_transparent_ground_is_white_and_what_is_drawn_keeps_its_grey(
    tmp_path: Path, name: str, image: Any, channels: int
) -> None:
    path = tmp_path / name
    image(path) if callable(image) else image.save(path, lossless=True)
    left, right = halves(path, channels)
    tolerance = 3 if "lab" in name else 0  # a conversion between colour spaces
    assert all(255 - level <= tolerance for level in right)
    assert all(abs(level - GREY) <= tolerance for level in left)


def test_what_is_half_transparent_is_mixed_with_white(tmp_path: Path) -> None:
    two_halves("RGBA", (0, 0, 0, 128), (200, 0, 0, 255)).save(tmp_path / "a.png")
    assert halves(tmp_path / "a.png", 3) == [(127, 127, 127), (200, 0, 0)]


def test_black_and_white_files_are_black_and_white(tmp_path: Path) -> None:
    two_halves("1", 0, 1).save(tmp_path / "a.png")
    assert halves(tmp_path / "a.png", 1) == [(0,), (255,)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm", "big_endian.tif"])
def test_greys_of_sixteen_bits_are_scaled_by_their_range(
    tmp_path: Path, name: str, channels: int
) -> None:
    deep = np.full((8, 8), 65535, dtype=np.uint16)
    deep[:, :4] = GREY << 8
    if name.endswith("pgm"):
        content = b"P5 8 8 65535\n" + deep.astype(">u2").tobytes()
        (tmp_path / name).write_bytes(content)
    else:
        image = Image.fromarray(deep)
        if "big" in name:
            image = Image.frombytes("I;16B", (8, 8), deep.astype(">u2").tobytes())
        image.save(tmp_path / name)
    assert halves(tmp_path / name, channels) == [(GREY,) * channels, (255,) * channels]


def test_greys_of_twelve_bits_are_scaled_by_the_maximum_of_their_file(tmp_path: Path) -> None:
    deep = np.full((8, 8), 4095, dtype=">u2")
    deep[:, :4] = 2048
    (tmp_path / "a.pgm").write_bytes(b"P5 8 8 4095\n" + deep.tobytes())
    assert halves(tmp_path / "a.pgm", 1) == [(128,), (255,)]


@pytest.mark.parametrize(
    ("dtype", "kind"), [(np.int32, "integers of 32 bits"), (np.float32, "floats")]
)
def test_pixels_whose_white_is_not_known_are_refused_by_the_name_of_the_file(
    tmp_path: Path, dtype: Any, kind: str
) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(np.arange(64, dtype=dtype).reshape(8, 8)).save(path)
    for read in (lambda: read_image(path, 1), lambda: read_inputs(path, (1, 8, 8), fit=False)):
        with pytest.raises(DataError, match=rf"a\.tif holds {kind}.*save it with 8 or 16 bits"):
            read()


@pytest.mark.parametrize("max_resident_gb", [4, 0])
def test_a_folder_says_why_it_leaves_such_files_out(
    tmp_path: Path, max_resident_gb: float, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(10):
        two_halves("L", number, 255).save(tmp_path / f"{number}.png")
    Image.fromarray(np.zeros((8, 8), dtype=np.float32)).save(tmp_path / "z.tif")
    source = ImageFolder(str(tmp_path), 8, 1, 0.2, "skip", max_resident_gb, 0, "number")
    loaded = [
        source.open(tmp_path, split, (8, 8)).loaded(torch.device("cpu"))
        for split in ("train", "test")
    ]
    assert sum(len(images) for images in loaded) == 10
    (reason,) = source.unreadable.values()
    assert "z.tif holds floats" in reason
