"""`mode=reconstruct`: images of a split and image files, their reconstructions, their errors."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from conftest import CallCommand
from untrained import Generate, digits, write_digits
from vae_lightning import load
from vae_lightning.data import binarization

TABLE = Path("results/reconstructions.csv")


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_images_are_above_their_reconstructions_and_each_error_is_in_the_table(
    generate: Generate, checkpoints: Callable[..., Path], drawn: list[list[Tensor]]
) -> None:
    result = generate(checkpoints(), "reconstruct", count=5, num_samples=200)
    images, labels = digits(5)
    model = load(checkpoints())
    expected = model.reconstruct(images)
    (group,) = drawn[0]
    torch.testing.assert_close(group, torch.cat([images, expected]))

    rows = rows_of(TABLE)
    assert [row["image"] for row in rows] == [f"test {index}" for index in range(5)]
    assert [int(row["class"]) for row in rows] == labels.tolist()
    errors = (images - expected).square().mean((1, 2, 3))
    assert [float(row["mse"]) for row in rows] == pytest.approx(errors.tolist(), rel=1e-4)
    for row in rows:
        parts = -float(row["rate"]) - float(row["distortion"])
        assert float(row["elbo"]) == pytest.approx(parts, rel=1e-4)
    torch.manual_seed(0)
    elbo = model(images, 2000).elbo.mean(0)
    assert [float(row["elbo"]) for row in rows] == pytest.approx(elbo.tolist(), rel=0.05)
    assert result.facts["mse"] == pytest.approx(errors.mean().item(), rel=1e-4)
    assert f"{errors.mean():.4f}" in result.out
    assert "cross-entropy of grey pixels" in result.out


@pytest.mark.parametrize(
    ("mode", "options"), [("reconstruct", {"num_samples": 5}), ("interpolate", {"seconds": 0.1})]
)
def test_two_runs_with_one_seed_write_the_same_files(
    generate: Generate, checkpoints: Callable[..., Path], mode: str, options: dict[str, float]
) -> None:
    found = []
    for folder in ("a", "b"):
        generate(checkpoints(), mode, folder=folder, **options)
        files = sorted(path for path in Path(folder).iterdir() if path.is_file())
        found.append([(path.name, path.read_bytes()) for path in files])
    assert found[0] == found[1]


def test_image_files_are_reconstructed_and_named(
    generate: Generate, checkpoints: Callable[..., Path], drawn: list[list[Tensor]], tmp_path: Path
) -> None:
    images = write_digits(tmp_path / "own", 3)
    generate(checkpoints(), "reconstruct", input="own")
    torch.testing.assert_close(drawn[0][0][:3], images.float() / 255)
    rows = rows_of(TABLE)
    assert [row["image"] for row in rows] == ["0.png", "1.png", "2.png"]
    assert [row["class"] for row in rows] == ["", "", ""]


def test_image_files_of_another_size_are_scaled_only_with_fit(
    generate: Generate, checkpoints: Callable[..., Path], tmp_path: Path, call_command: CallCommand
) -> None:
    write_digits(tmp_path / "own", 2, size=20)
    arguments = [f"ckpt_path={checkpoints()}", "output_dir=results", "mode=reconstruct"]
    refused = call_command(*arguments, "mode.input=own", command="generate")
    assert refused.status == 1
    assert "0.png has 20 x 20 pixels" in refused.err
    assert "set mode.fit=true" in refused.err
    assert len(refused.err.splitlines()) == 1
    assert not Path("results").exists()
    generate(checkpoints(), "reconstruct", input="own", fit=True)


@pytest.mark.parametrize("binarize", ["threshold", "dynamic"])
def test_image_files_are_binarised_like_the_training_data_and_the_output_says_so(
    generate: Generate,
    checkpoints: Callable[..., Path],
    drawn: list[list[Tensor]],
    tmp_path: Path,
    binarize: str,
) -> None:
    images = write_digits(tmp_path / "own", 3)
    result = generate(checkpoints(f"data.binarize={binarize}"), "reconstruct", input="own")
    assert result.facts["binarize"] == binarize
    assert f"data.binarize={binarize}" in result.out
    inputs = drawn[0][0][:3]
    assert set(inputs.unique().tolist()) == {0.0, 1.0}
    if binarize == "threshold":
        assert torch.equal(inputs, binarization.threshold(images).float() / 255)


def test_a_conditional_model_takes_the_classes_of_image_files(
    generate: Generate, checkpoints: Callable[..., Path], drawn: list[list[Tensor]], tmp_path: Path
) -> None:
    images = write_digits(tmp_path / "own", 2).float() / 255
    conditional = checkpoints("model=conditional")
    generate(conditional, "reconstruct", input="own", classes=[4, 7])
    expected = load(conditional).reconstruct(images, torch.tensor([4, 7]))
    torch.testing.assert_close(drawn[0][0][2:], expected)
    assert [row["class"] for row in rows_of(TABLE)] == ["4", "7"]
