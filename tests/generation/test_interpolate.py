"""`mode=interpolate`: between images, class means and labels, as a picture and a GIF."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from untrained import Generate, digits, write_digits
from vae_lightning import load
from vae_lightning.data.image_files import read_inputs


@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_rows_begin_and_end_at_the_reconstructions_of_their_images(
    generate: Generate, checkpoints: Callable[..., Path], drawn: list[list[Tensor]], path: str
) -> None:
    generate(checkpoints(), "interpolate", images=[3, 8, 2], steps=5, path=path)
    images, model = digits(10)[0][[3, 8, 2]], load(checkpoints())
    expected = model.reconstruct(images)
    rows = drawn[0]
    assert len(rows) == 2
    for index, row in enumerate(rows):
        assert torch.equal(row[[0, -1]], images[index : index + 2])
        torch.testing.assert_close(row[[1, -2]], expected[index : index + 2])
    a, b = model.latent_means(images)[:2]
    middle = (a + b) / 2
    if path == "spherical":
        angle = torch.cosine_similarity(a, b, dim=0).acos()
        middle = middle / (angle / 2).cos()
    torch.testing.assert_close(rows[0][3], model.mean_images(middle[None])[0])


def test_the_gif_shows_every_image_and_returns_to_the_first(
    generate: Generate, checkpoints: Callable[..., Path], drawn: list[list[Tensor]]
) -> None:
    result = generate(checkpoints(), "interpolate", images=[3, 8, 2], seconds=0.4)
    assert "wrote  results/interpolation.gif" in result.out
    expected = load(checkpoints()).reconstruct(digits(10)[0][[3, 8, 2]])
    (frames,) = drawn[1]
    assert len(frames) == 30
    torch.testing.assert_close(frames[[0, 10, 20]], expected)
    # No step is large, the one from the last frame to the first included.
    steps = (frames.roll(-1, 0) - frames).abs().mean((1, 2, 3))
    whole = (expected.roll(-1, 0) - expected).abs().mean((1, 2, 3))
    assert steps.max() < whole.max() / 2
    assert Image.open("results/interpolation.gif").info["loop"] == 0


def test_image_files_are_interpolated_in_the_given_order(
    generate: Generate, checkpoints: Callable[..., Path], drawn: list[list[Tensor]], tmp_path: Path
) -> None:
    images = write_digits(tmp_path / "own", 3).float() / 255
    result = generate(checkpoints(), "interpolate", input=["own/2.png", "own/0.png"])
    assert result.facts["between"] == ["own/2.png", "own/0.png"]
    assert torch.equal(drawn[0][0][[0, -1]], images[[2, 0]])


@pytest.mark.parametrize("classes", [None, [1, 7]])
def test_an_image_file_is_read_once_for_the_check_and_the_run(
    generate: Generate,
    checkpoints: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    classes: list[int] | None,
) -> None:
    write_digits(tmp_path / "own", 2)
    read: list[Path] = []

    def record(path: Path, *args: Any) -> Any:
        read.append(path)
        return read_inputs(path, *args)

    monkeypatch.setattr("vae_lightning.generation.inputs.read_inputs", record)
    files = ["own/0.png", "own/1.png"] if classes is None else ["own/0.png"]
    checkpoint = checkpoints() if classes is None else checkpoints("model=conditional")
    generate(checkpoint, "interpolate", input=files, classes=classes, seconds=0.1)
    assert [str(path) for path in read] == files


def test_a_model_without_labels_interpolates_between_class_means(
    generate: Generate, checkpoints: Callable[..., Path], drawn: list[list[Tensor]]
) -> None:
    result = generate(checkpoints(), "interpolate", classes=[1, 7])
    assert result.facts["between"] == ["class 1", "class 7"]
    model, (images, labels) = load(checkpoints()), digits(360)
    for end, label in ((0, 1), (-1, 7)):
        centre = model.latent_means(images[labels == label]).mean(0, keepdim=True)
        torch.testing.assert_close(drawn[0][0][[end]], model.mean_images(centre))


def test_class_means_of_a_sphere_are_on_the_sphere(
    generate: Generate, checkpoints: Callable[..., Path], drawn: list[list[Tensor]]
) -> None:
    checkpoint = checkpoints("model/posterior=von_mises_fisher", "model/prior=uniform_sphere")
    generate(checkpoint, "interpolate", classes=[1, 7])
    model, (images, labels) = load(checkpoint), digits(360)
    centre = model.latent_means(images[labels == 1]).mean(0, keepdim=True)
    expected = model.mean_images(centre / centre.norm())
    torch.testing.assert_close(drawn[0][0][[0]], expected)


@pytest.mark.parametrize("start", ["prior", "index", "file"])
def test_a_conditional_model_keeps_z_and_changes_the_label(
    generate: Generate,
    checkpoints: Callable[..., Path],
    drawn: list[list[Tensor]],
    tmp_path: Path,
    start: str,
) -> None:
    checkpoint = checkpoints("model=conditional")
    model, (images, labels) = load(checkpoint), digits(5)
    write_digits(tmp_path / "own", 5)
    sources: dict[str, dict[str, Any]] = {
        "prior": {}, "index": {"images": [4]}, "file": {"input": "own/4.png"},
    }  # fmt: skip
    generate(checkpoint, "interpolate", classes=[1, 7], steps=3, **sources[start])
    if start == "prior":
        torch.manual_seed(0)
        z = model.sample_latents(1)
    else:
        label = labels[4:5] if start == "index" else torch.tensor([1])
        z = model.latent_means(images[4:5], label)
    mixed = torch.zeros(3, 10)
    mixed[:, 1], mixed[:, 7] = torch.tensor([1.0, 0.5, 0.0]), torch.tensor([0.0, 0.5, 1.0])
    torch.testing.assert_close(drawn[0][0], model.mean_images(z.expand(3, -1), mixed))
    assert not torch.allclose(drawn[0][0][0], drawn[0][0][2])
