"""Labelled grids and animations."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vae_lightning.drawing.gif import write_gif
from vae_lightning.drawing.grids import grid
from vae_lightning.drawing.labelled_grid import labelled_grid


def test_a_gif_has_its_frames_with_their_durations_at_a_visible_size(tmp_path: Path) -> None:
    images = torch.rand(4, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    write_gif(images, tmp_path / "animation.gif", [500, 40, 40, 80])
    with Image.open(tmp_path / "animation.gif") as file:
        assert (file.n_frames, file.size, file.info["loop"]) == (4, (224, 224), 0)  # type: ignore[attr-defined]
        durations = []
        for index in range(4):
            file.seek(index)
            durations.append(file.info["duration"])
            frame = np.asarray(file.convert("RGB"))[::8, ::8] / 255
            # A GIF has 256 colours.
            assert np.abs(frame - images[index].permute(1, 2, 0).numpy()).mean() < 0.05
    assert durations == [500, 40, 40, 80]


def test_titles_of_a_labelled_grid_do_not_overlap_its_images() -> None:
    images = torch.zeros(2, 1, 48, 48)
    images[1] = 1.0
    picture = labelled_grid(
        [images], 2, title="title", group_titles=["a name"], column_titles=["0", "1"]
    )
    pixels = np.asarray(picture)
    white = (pixels == 255).all(-1)
    # The second image is all white, the first all black, and nothing overlaps either.
    assert (pixels == 0).all(-1).sum() == 48 * 48
    rows, columns = np.nonzero((pixels == 0).all(-1))
    top, left = rows.min(), columns.min()
    assert white[top : top + 48, left + 50 : left + 98].all()
    assert not white[:, : left - 3].all()  # the title of the group
    assert not white[: top - 3].all()  # the titles of picture and columns
    assert pixels.shape[1] < left + 98 + 20


def test_column_titles_wider_than_an_image_stand_upright_above_it() -> None:
    images = torch.zeros(2, 1, 48, 48)
    short, wide = (
        np.asarray(labelled_grid([images], 2, title="t", column_titles=[name, ""]))
        for name in ("coat", "an ankle boot, black")
    )
    assert short.shape[1] == wide.shape[1]
    assert wide.shape[0] > short.shape[0] + 60
    rows, columns = np.nonzero((wide[25:] < 200).all(-1) & (wide[25:] > 100).all(-1))
    written = rows < np.nonzero((wide[25:] == 96).all(-1).sum(1) > 50)[0][0]
    # In the first column, and from above the images up to the title.
    assert columns[written].max() < 10 + 48
    assert rows[written].max() - rows[written].min() > 80


def test_a_grid_of_bytes_is_that_of_the_same_floats() -> None:
    pixels = torch.arange(256).byte().reshape(4, 1, 8, 8)
    assert torch.equal(grid(pixels, 2), grid(pixels / 255, 2))


@pytest.mark.parametrize("channels", [2, 4, 6])
def test_other_channels_than_grey_and_colour_are_drawn_side_by_side(
    tmp_path: Path, channels: int
) -> None:
    levels = torch.linspace(0.2, 1, channels)
    images = levels[:, None, None].expand(2, channels, 40, 50)
    picture = grid(images, 2)
    width = channels * 51 - 1
    assert picture.shape == (3, 44, 2 * (width + 2) + 2)
    middles = 2 + 25 + 51 * torch.arange(channels)
    for first in (0, width + 2):
        assert picture[0, 22, first + middles].tolist() == levels.mul(255).round().tolist()
    assert np.asarray(labelled_grid([images], 2, captions=[["a", "b"]])).shape[2] == 3
    write_gif(images, tmp_path / "animation.gif", [40, 40])
    with Image.open(tmp_path / "animation.gif") as file:
        assert file.size == (channels * 251 - 1, 200)
