"""What the commands on a checkpoint share: where they write, what they read, their noise."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vae_lightning
from conftest import CallCommand, FinishedRun
from tiny import composed_model
from untrained import write_checkpoint
from vae_lightning import load
from vae_lightning.cli.device import choose_device
from vae_lightning.cli.workspace import Workspace
from vae_lightning.config import compose, to_container
from vae_lightning.config.resolvers import result_folder
from vae_lightning.data.image_files import list_images, read_inputs
from vae_lightning.data.resizing import center_crop
from vae_lightning.errors import CheckpointError, ConfigError, DataError
from vae_lightning.utils.random_state import noise_of

SHAPE = (1, 8, 6)  # channels, height, width

# -- where it runs --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_gpu_is_the_accelerator_that_is_here(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
    monkeypatch.setattr("torch.accelerator.current_accelerator", lambda: torch.device(kind))
    for asked in ("auto", "gpu", kind):
        assert choose_device(asked) == torch.device(kind)
    assert choose_device("cpu") == torch.device("cpu")


def test_gpu_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    for asked in ("gpu", "cuda", "mps"):
        with pytest.raises(
            ConfigError, match=f"^device={asked} is not available; torch finds cpu$"
        ):
            choose_device(asked)


# -- where results go -----------------------------------------------------------------------------


def test_results_go_to_the_run_of_the_checkpoint_unless_a_folder_was_chosen(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    for named in (run, run / "checkpoints", run / "checkpoints" / "best.ckpt"):
        assert result_folder(str(named), None, "made") == str(run / "made")
    assert result_folder(str(tmp_path / "alone.ckpt"), None, "made") == str(tmp_path / "made")
    assert result_folder(str(run), "chosen", "made") == "chosen"
    assert result_folder(None, None, "made") == "made"


@pytest.mark.parametrize("command", ["evaluate", "generate", "detect", "export"])
def test_each_command_writes_into_a_folder_of_its_name(tmp_path: Path, command: str) -> None:
    (tmp_path / "checkpoints").mkdir()
    overrides = [f"ckpt_path={tmp_path}", "hydra.job.name=any", "hydra.runtime.output_dir=any"]
    config = compose(command, overrides, with_hydra=True)
    assert Path(config.hydra.run.dir).parent == tmp_path / command


# -- a user's own images --------------------------------------------------------------------------


def write_image(path: Path, size: tuple[int, int] = (6, 8), grey: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, grey).save(path)
    return path


def test_images_of_a_folder_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    write_image(tmp_path / "b.png", grey=2)
    write_image(tmp_path / "a" / "z.PNG", grey=1)
    write_image(tmp_path / ".hidden" / "c.png")
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.warns(UserWarning, match=r"holds 1 file that is not read: 1 \.txt$"):
        read = read_inputs(tmp_path, SHAPE, fit=False)
    assert list(read.names) == [str(Path("a", "z.PNG")), "b.png"]
    assert read.images.dtype == torch.uint8
    assert read.images.shape == (2, *SHAPE)
    assert read.images[:, 0, 0, 0].tolist() == [1, 2]


def test_colour_becomes_grey_where_the_model_sees_grey(tmp_path: Path) -> None:
    Image.new("RGB", (6, 8), (30, 30, 30)).save(tmp_path / "a.png")
    assert read_inputs(tmp_path / "a.png", SHAPE, fit=False).images.unique().tolist() == [30]
    assert read_inputs(tmp_path / "a.png", (3, 8, 6), fit=False).images.shape == (1, 3, 8, 6)


def test_an_image_of_another_size_is_refused_or_scaled_as_asked(tmp_path: Path) -> None:
    file = write_image(tmp_path / "a.png", (20, 10))
    with pytest.raises(DataError, match=r"a.png has 20 x 10 pixels, and the model takes 8 x 8"):
        read_inputs(file, (1, 8, 8), fit=False)
    assert read_inputs(file, (1, 8, 8), fit=True).images.shape == (1, 1, 8, 8)


def test_the_middle_is_the_largest_square_around_the_centre() -> None:
    image = torch.arange(12).reshape(1, 2, 6)
    assert center_crop(image, 1).tolist() == [[[2, 3], [8, 9]]]
    assert center_crop(image.mT, 1).tolist() == [[[2, 8], [3, 9]]]


def test_what_holds_no_image_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no image: the endings looked for are .png"):
        list_images(tmp_path)
    with pytest.raises(DataError, match="missing does not exist"):
        read_inputs(tmp_path / "missing", SHAPE, fit=False)
    whole = write_image(tmp_path / "whole.png", (200, 200)).read_bytes()
    for name, content in (("text.png", b"no image"), ("cut.png", whole[: len(whole) // 2])):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name} is not an image that can be read") as refused:
            read_inputs(tmp_path / name, SHAPE, fit=False)
        assert "\n" not in str(refused.value)


def test_arrays_are_taken_as_they_are_with_their_labels(tmp_path: Path) -> None:
    images = np.arange(2 * 48, dtype=np.uint8).reshape(2, *SHAPE)
    np.savez(tmp_path / "a.npz", images=images, labels=np.array([3, 1], dtype=np.int32))
    read = read_inputs(tmp_path / "a.npz", SHAPE, fit=False)
    assert read.images.numpy().tolist() == images.tolist()
    assert read.labels is not None
    assert (read.labels.dtype, read.labels.tolist()) == (torch.int64, [3, 1])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": np.zeros((2, 1, 8, 6), np.uint8)}, "holds no array named images"),
        ({"images": np.zeros((2, 1, 8, 6))}, "holds images of float64"),
        ({"images": np.zeros((2, 8, 6), np.uint8)}, r"it must be uint8 and \(N, 1, 8, 6\)"),
        ({"images": np.zeros((0, 1, 8, 6), np.uint8)}, r"shape \(0, 1, 8, 6\)"),
        (
            {"images": np.zeros((2, 1, 8, 6), np.uint8), "labels": np.zeros(3, int)},
            r"holds \(3,\) labels for 2 images",
        ),
        ({"images": np.array([{}], dtype=object)}, "cannot be read as .npz"),
    ],
)
def test_arrays_of_another_kind_are_refused_with_what_would_do(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read_inputs(tmp_path / "a.npz", SHAPE, fit=False)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut short"])
def test_a_broken_archive_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"a.npz cannot be read as .npz"):
        read_inputs(tmp_path / "a.npz", SHAPE, fit=False)


def test_one_array_by_itself_is_no_archive(tmp_path: Path) -> None:
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, np.zeros((2, *SHAPE), np.uint8))
    with pytest.raises(DataError, match=r"a.npz cannot be read as .npz"):
        read_inputs(tmp_path / "a.npz", SHAPE, fit=False)


# -- noise ----------------------------------------------------------------------------------------


def test_a_generator_gives_the_noise_and_moves_on() -> None:
    def draw(generator: torch.Generator | None) -> torch.Tensor:
        with noise_of(generator, torch.device("cpu")):
            return torch.rand(3)

    generator = torch.Generator().manual_seed(5)
    before = torch.get_rng_state()
    first, second = draw(generator), draw(generator)
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(first, second)
    assert torch.equal(first, draw(torch.Generator().manual_seed(5)))
    draw(None)
    assert not torch.equal(before, torch.get_rng_state())


# -- checkpoints of another version ---------------------------------------------------------------


def test_a_checkpoint_of_another_version_loads_where_it_fits_and_names_both_where_not(
    tmp_path: Path,
) -> None:
    overrides = ("data=digits", "model.encoder.hidden=[4]", "model.decoder.hidden=[4]")
    content: dict[str, Any] = {
        "config": to_container(compose("train", [*overrides, "paths.run_dir=unused"])),
        "state_dict": {f"model.{k}": v for k, v in composed_model(*overrides).state_dict().items()},
        "vae_lightning_version": "9.9.9",
    }
    torch.save(content, tmp_path / "a.ckpt")
    assert load(tmp_path / "a.ckpt").sample(1).shape == (1, 1, 28, 28)
    content["config"]["model"]["of_the_future"] = 1
    torch.save(content, tmp_path / "b.ckpt")
    here = vae_lightning.__version__
    with pytest.raises(CheckpointError) as refused:
        load(tmp_path / "b.ckpt")
    line = str(refused.value)
    assert f"(written by vae_lightning 9.9.9, this is {here})" in line
    assert "of_the_future is not an option of VAE" in line
    assert "\n" not in line


# -- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("evaluate", ["parts=[likelihood,latents]", "num_samples=2", "num_images=8"]),
        ("generate", ["mode.count=4"]),
        ("detect", ["against=fashion_mnist", "detect.score=latent"]),
        ("export", []),
    ],
)
def test_a_command_reads_its_checkpoint_once(
    command: str,
    options: list[str],
    call_command: CallCommand,
    finished_run: FinishedRun,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = []
    load_file = torch.load

    def counting(path: Any, *args: Any, **kwargs: Any) -> Any:
        read.append(path)
        return load_file(path, *args, **kwargs)

    monkeypatch.setattr(torch, "load", counting)
    call_command(f"ckpt_path={finished_run.folder}", *options, command=command)
    assert len([path for path in read if str(path).endswith(".ckpt")]) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("evaluate", []),
        ("generate", []),
        ("detect", []),
        ("export", []),
        ("train", ["data=digits", "trainer=cpu"]),
        ("train", ["data=digits", "trainer=cpu", "train=false"]),
    ],
)
def test_a_command_on_a_model_that_diverged_names_its_first_broken_tensor(
    command: str,
    options: list[str],
    value: float,
    call_command: CallCommand,
    finished_run: FinishedRun,
    tmp_path: Path,
) -> None:
    content = torch.load(finished_run.folder / "checkpoints" / "best.ckpt", weights_only=True)
    content["state_dict"]["model.decoder.layers.0.bias"][3] = value
    torch.save(content, "diverged.ckpt")
    outcome = call_command("ckpt_path=diverged.ckpt", *options, command=command)
    assert outcome.status == 1
    (line,) = outcome.err.splitlines()
    assert (
        "diverged.ckpt holds a model that diverged: 1 of the 400 values of decoder.layers.0" in line
    )
    assert [path.name for path in tmp_path.iterdir()] == ["diverged.ckpt"]


@pytest.mark.parametrize("command", ["evaluate", "generate", "detect"])
def test_a_command_can_be_given_more_memory_for_images_than_training(
    tmp_path: Path, command: str
) -> None:
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(5):
            Image.new("L", (8, 8), number).save(tmp_path / "photos" / name / f"{number}.png")
    folder = ("data=image_folder", f"data.root={tmp_path / 'photos'}", "data.max_resident_gb=0")
    checkpoint = write_checkpoint(tmp_path / "x.ckpt", *folder, "data.channels=1", "data.size=8")
    for given, expected in ((None, 0), (2, 2)):
        overrides = [f"ckpt_path={checkpoint}", f"paths.run_dir={tmp_path}", "device=cpu"]
        overrides += [] if given is None else [f"data.max_resident_gb={given}"]
        workspace = Workspace(to_container(compose(command, overrides)))
        assert workspace.datamodule.source.max_resident_gb == expected
