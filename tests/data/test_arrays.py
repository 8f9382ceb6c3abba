"""Files of arrays: layouts, splits, what is refused, and runs on them."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import Outcome, read_metrics
from vae_lightning.checkpoint import Checkpoint
from vae_lightning.config import compose, instantiate, to_container
from vae_lightning.data import ArraysModule
from vae_lightning.errors import DataError, UserError
from vae_lightning.utils.image_size import image_shape

CallCommand = Callable[..., Outcome]
SMALL = (
    "trainer=cpu", "trainer.max_epochs=1", "model.encoder.hidden=[8]", "model.decoder.hidden=[8]",
    "callbacks=minimal", "logger=none",
)  # fmt: skip


def pixels(count: int = 30, *shape: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    shape = shape or (8, 8)
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def labels(count: int = 30) -> np.ndarray[Any, Any]:
    return np.arange(count) % 3


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "images.npz", **arrays)
    return folder / "images.npz"


def config_of(file: Path, **options: Any) -> dict[str, Any]:
    composed = compose("train", ["data=arrays", f"data.path={file}"])
    return {**to_container(composed.data), **options}


def ready(path: Path, **options: Any) -> ArraysModule:
    module = instantiate(config_of(path, **options), "data")
    module.prepare_data()
    module.setup("fit")
    return module


def served(module: ArraysModule) -> torch.Tensor:
    """All images of all splits, uint8, in any order."""
    parts = [module.evaluated(split)[0] for split in ("train", "val", "test")]
    return torch.cat(parts)


def in_order(images: Any) -> list[bytes]:
    return sorted(np.ascontiguousarray(image).tobytes() for image in np.asarray(images))


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    ("shape", "to_chw"),
    [
        ((8, 8), lambda a: a[:, None]),
        ((1, 8, 8), lambda a: a),
        ((8, 8, 1), lambda a: a.transpose(0, 3, 1, 2)),
        ((3, 8, 8), lambda a: a),
        ((8, 8, 3), lambda a: a.transpose(0, 3, 1, 2)),
        ((2, 7, 9), lambda a: a),
        ((9, 7, 4), lambda a: a.transpose(0, 3, 1, 2)),
        ((9, 6, 6), lambda a: a),
        ((6, 6, 9), lambda a: a.transpose(0, 3, 1, 2)),
    ],
)
def test_every_layout_and_type_serves_the_same_bytes(
    tmp_path: Path, shape: tuple[int, ...], to_chw: Callable[[Any], Any], dtype: Any
) -> None:
    images = pixels(20, *shape)
    given = images if dtype == np.uint8 else (images / 255).astype(dtype)
    module = ready(saved(tmp_path, images=given))
    assert module.image_shape == to_chw(images).shape[1:]
    assert in_order(served(module)) == in_order(to_chw(images))


@pytest.mark.parametrize("ending", [".npz", ".npy", ".pt", "tensors.pt", "old.pt"])
def test_every_kind_of_file_serves_its_images_and_labels(tmp_path: Path, ending: str) -> None:
    images, path = pixels(), tmp_path / f"a{ending}"
    if ending == ".npz":
        np.savez_compressed(path, images=images, labels=labels())
    elif ending == ".npy":
        np.save(path, images)
    elif ending == ".pt":
        torch.save(torch.from_numpy(images), path)
    else:
        tensors = {"images": torch.from_numpy(images), "labels": torch.from_numpy(labels())}
        torch.save(tensors, path, _use_new_zipfile_serialization=ending != "old.pt")
    module = ready(path)
    assert in_order(served(module)) == in_order(images[:, None])
    with_labels = ending in (".npz", "tensors.pt", "old.pt")
    assert tuple(module.class_names) == (("0", "1", "2") if with_labels else ())
    if with_labels:
        label = {image.tobytes(): number for image, number in zip(images, labels(), strict=True)}
        served_images, served_labels = module.evaluated("train")
        for image, number in zip(served_images.numpy(), served_labels.tolist(), strict=True):
            assert label[image.tobytes()] == number


def test_splits_are_drawn_by_size_the_same_ones_for_every_seed(tmp_path: Path) -> None:
    path = saved(tmp_path, images=pixels(40))
    module, other = (ready(path, test_size=0.25, val_size=6, seed=seed) for seed in (0, 1))
    assert module.num_images == {"train": 24, "val": 6, "test": 10}
    for split in ("train", "val", "test"):
        assert torch.equal(module.evaluated(split)[0], other.evaluated(split)[0])
    assert in_order(served(module)) == in_order(pixels(40)[:, None])


def test_splits_of_the_file_are_kept(tmp_path: Path) -> None:
    parts = {"train": pixels(20), "val": pixels(5, seed=1), "test": pixels(7, seed=2)}
    arrays = {f"{split}_images": images for split, images in parts.items()}
    names = {f"{split}_labels": labels(len(images)) for split, images in parts.items()}
    module = ready(saved(tmp_path, **arrays, **names))
    for split, images in parts.items():
        assert in_order(module.evaluated(split)[0]) == in_order(images[:, None])
    arrays.pop("test_images")
    without = ready(saved(tmp_path, **arrays), test_size=4)
    assert without.num_images == {"train": 16, "val": 5, "test": 4}
    arrays.pop("val_images")
    assert ready(saved(tmp_path, **arrays)).num_images == {"train": 16, "val": 2, "test": 2}


def test_labels_are_numbered_in_their_order_whatever_they_are(tmp_path: Path) -> None:
    words = np.array(["dog", "cat", "owl"])[labels()]
    assert tuple(ready(saved(tmp_path, images=pixels(), labels=words)).class_names) == (
        "cat", "dog", "owl",
    )  # fmt: skip
    module = ready(saved(tmp_path, images=pixels(), labels=7 + 2 * labels()[:, None]))
    assert tuple(module.class_names) == ("7", "9", "11")
    assert set(module.evaluated("train")[1].tolist()) == {0, 1, 2}
    one_class = ready(saved(tmp_path, images=pixels(), labels=np.ones(30, int)))
    assert one_class.class_names == ()


def test_size_and_channels_are_those_of_the_file_and_images_are_cropped_and_scaled(
    tmp_path: Path,
) -> None:
    images = np.zeros((20, 8, 12, 3), np.uint8)
    images[:, :, 2:-2] = 200  # the square around the centre
    path = saved(tmp_path, images=images)
    config = config_of(path)
    assert (config["size"], config["channels"], config["num_classes"]) == ([8, 12], 3, 0)
    assert in_order(served(ready(path))) == in_order(images.transpose(0, 3, 1, 2))
    for size in (4, [8, 4]):
        scaled = served(ready(path, size=size))
        assert scaled.shape == (20, *image_shape(3, size))
        assert (scaled == 200).all()
    assert not (served(ready(path, size=[2, 6])) == 200).all()
    with pytest.raises(UserError, match=r"data\.channels=1: images\.npz images have 3"):
        ready(path, channels=1)


def test_a_configuration_with_a_file_of_arrays_is_composed_without_torch(tmp_path: Path) -> None:
    path = saved(tmp_path, images=pixels(), labels=labels())
    code = f"""
import sys
from vae_lightning.config import compose, to_container
print(to_container(compose("train", ["data=arrays", "data.path={path}"]).data)["num_classes"])
assert not {{"torch", "lightning"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr


# -- what is refused ------------------------------------------------------------------------------


def _floats(value: float) -> Any:
    images = np.full((30, 8, 8), 0.5, np.float32)
    images[17, 3, 3] = value
    return images


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": _floats(1.5)}, r"images holds values from 0\.5 to 1\.5: floats must be in"),
        ({"images": _floats(-0.1)}, r"values from -0\.1 to 0\.5"),
        ({"images": _floats(float("nan"))}, "images holds NaN"),
        ({"images": _floats(float("inf"))}, r"values from 0\.5 to inf"),
        ({"images": pixels() % 2}, "bytes of 0 and 1 only: white is 255"),
        ({"images": pixels().astype(object)}, "images of object and shape"),
        ({"images": pixels().astype(int)}, "images of int64 and shape .* give uint8 from 0 to"),
        ({"images": pixels(1)}, r"shape \(1, 8, 8\) is one image"),
        ({"images": pixels(2)}, "leaves nothing to train on"),
        ({"images": pixels()[0]}, r"shape \(8, 8\): it must be \(N, H, W\)"),
        ({"images": pixels(0)}, r"shape \(0, 8, 8\): it must be"),
        ({"images": pixels(9, 18, 19, 20)}, "channels must be fewer"),
        ({"images": pixels(9, 8, 8, 8)}, r"may be \(N, C, H, W\) or \(N, H, W, C\)"),
        ({"images": pixels(), "labels": labels(29)}, r"labels of shape \(29,\) for 30 images"),
        ({"images": pixels(), "labels": labels() / 2}, "labels of float64: give whole numbers"),
        ({"images": pixels(), "labels": labels().astype(object)}, "labels of object"),
        ({"x": pixels()}, "holds neither `images` nor `train_images`: its arrays are x"),
        ({"test_images": pixels()}, "nor `train_images`: its arrays are test_images"),
        ({"images": pixels(), "train_images": pixels()}, "both images and train_images"),
        (
            {"train_images": pixels(), "test_images": pixels(), "train_labels": labels()},
            "has labels, and no test_labels",
        ),
        (
            {
                "train_images": pixels(), "test_images": pixels(),
                "train_labels": labels(), "test_labels": labels() + 1,
            },
            "holds class 3 in test_labels, of which train_labels has none",
        ),
        ({"train_images": pixels(), "test_images": pixels(9, 4, 4)}, "images of different shapes"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_are_refused_in_one_line_before_a_file_is_written(
    tmp_path: Path, call_train: CallCommand, arrays: dict[str, Any], message: str
) -> None:
    path = saved(tmp_path, **arrays)
    with pytest.raises(UserError, match=message) as refused:
        ready(path)
    assert "\n" not in str(refused.value)
    if "values from" in message:
        run = call_train("data=arrays", f"data.path={path}", *SMALL)
        assert run.status == 1
        assert run.err.startswith("error: ")
        assert run.err.count("\n") == 1
        assert sorted(tmp_path.iterdir()) == [path]


def test_what_is_no_file_of_arrays_is_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.npy"
    np.save(whole, pixels())
    (tmp_path / "cut.npy").write_bytes(whole.read_bytes()[:-100])
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "text.pt").write_text("no tensor")
    (tmp_path / "photo.png").write_text("")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save(torch.nn.Linear(1, 1), tmp_path / "module.pt")
    archive = saved(tmp_path, images=pixels()).read_bytes()
    (tmp_path / "cut.npz").write_bytes(archive[: len(archive) // 2])
    for name, message in {
        "missing.npz": r"data\.path=.*missing\.npz does not exist: name the file",
        ".": "is a folder: name a file of arrays, or use data=image_folder",
        "photo.png": r"is no file of arrays: they end in \.npz, \.npy, \.pt",
        "cut.npy": "is damaged or cut short",
        "cut.npz": r"cannot be read as \.npz",
        "text.npz": r"cannot be read as \.npz",
        "text.npy": r"cannot be read as \.npy",
        "text.pt": r"cannot be read as \.pt of plain tensors",
        "module.pt": r"cannot be read as \.pt of plain tensors",
        "list.pt": "must hold a tensor, or a dict of tensors",
    }.items():
        with pytest.raises(UserError, match=message) as refused:
            ready(tmp_path / name)
        assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match="data: path is missing: name the file of your images"):
        instantiate(config_of(whole, path=None), "data")


# -- runs -----------------------------------------------------------------------------------------


def test_all_commands_work_on_a_run_with_arrays_of_two_channels_that_are_not_square(
    tmp_path: Path, call_command: CallCommand
) -> None:
    path = saved(tmp_path, images=pixels(60, 2, 12, 9), labels=labels(60))
    here = "hydra.run.dir=run"
    # With TensorBoard's pictures and projector.
    board = ("logger=tensorboard", "callbacks=default")
    options = ("data=arrays", "data.path=images.npz", "data.held_out=[2]", *SMALL, *board, here)
    run = call_command(*options)
    assert run.status == 0, run.err
    assert read_metrics(tmp_path / "run")["data"] == "arrays"
    assert Checkpoint(tmp_path / "run").origin.root == str(path)
    commands: dict[str, tuple[str, ...]] = {
        "evaluate": ("device=cpu", "num_samples=2", "parts=[likelihood,latents]"),
        "generate": ("device=cpu", "mode=reconstruct", "mode.count=2"),
        "detect": ("device=cpu", "detect.false_positive_rate=0.2"),
        "export": (),
    }
    for command, more in commands.items():
        done = call_command("ckpt_path=run", f"output_dir={command}", *more, command=command)
        assert done.status == 0, (command, done.err)
    for mode, option in {"samples": "mode.format=npz", "interpolate": "mode.images=[0,1]"}.items():
        more = (f"mode={mode}", f"output_dir={mode}", "device=cpu", option)
        done = call_command("ckpt_path=run", *more, command="generate")
        assert done.status == 0, (mode, done.err)
    for mode in ("augment", "samples mode.format=png"):
        refused = call_command(
            "ckpt_path=run", "output_dir=no", "device=cpu", *f"mode={mode}".split(),
            command="generate",
        )  # fmt: skip
        assert "mode.format=npz" in refused.err
    record = read_metrics(tmp_path / "evaluate")["protocol"]
    assert (record["data_root"], record["files_of_training"]) == (str(path), True)


def test_a_checkpoint_finds_its_arrays_and_notices_others(
    tmp_path: Path, call_command: CallCommand
) -> None:
    path = saved(tmp_path, images=pixels())
    run = call_command("data=arrays", f"data.path={path}", *SMALL, "hydra.run.dir=run")
    assert run.status == 0, run.err
    moved = tmp_path / "moved.npz"
    path.rename(moved)
    options = ("ckpt_path=run", "device=cpu", "num_samples=2", "parts=[likelihood]")
    missing = call_command(*options, command="evaluate")
    assert missing.status == 1
    assert "images.npz does not exist" in missing.err
    found = call_command(*options, f"data.path={moved}", "output_dir=one", command="evaluate")
    assert found.status == 0, found.err
    saved(tmp_path, images=pixels(seed=1))
    with pytest.raises(DataError, match=r"name the file of those images with data\.path="):
        Checkpoint(tmp_path / "run").data()
    with pytest.warns(UserWarning, match="does not hold the files"):
        Checkpoint(tmp_path / "run").data(path=str(path))
