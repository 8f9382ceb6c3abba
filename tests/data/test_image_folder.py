"""Folders of images: reading, splits, classes, streaming, and runs on them."""

import functools
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from conftest import Outcome, read_metrics
from tiny import tiny_module, tiny_trainer, tiny_vae
from vae_lightning.checkpoint import Checkpoint
from vae_lightning.config import compose, instantiate, to_container
from vae_lightning.data import ImageFolderModule
from vae_lightning.data.batches import Batch, ResidentBatches
from vae_lightning.data.image_files import read_image
from vae_lightning.data.image_folder import class_folders, num_classes_of
from vae_lightning.data.resizing import crop_and_resize
from vae_lightning.data.streamed_batches import StreamedBatches
from vae_lightning.errors import ConfigError, DataError, UserError
from vae_lightning.evaluation.run import evaluate, prepare
from vae_lightning.training.build import build

SPLITS = ("train", "val", "test")
CallTrain = Callable[..., Outcome]
RUN = (
    "trainer=cpu",
    "trainer.max_epochs=1",
    "model.encoder.hidden=[8]",
    "model.decoder.hidden=[8]",
)


def write_image(path: Path, level: int, size: tuple[int, int] = (9, 9), mode: str = "RGB") -> None:
    """One colour all over, so that no scaling changes it: red is the level, green its opposite."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, 255 - level, 40)).convert(mode).save(path)


def write_noise(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """40 images of noise in two classes, one of them nested."""
    for number in range(40):
        parent = "cat" if number % 2 else "dog/brown"
        write_noise(tmp_path / "mine" / parent / f"{number:02d}.png", number)
    return tmp_path / "mine"


def config_of(root: str | None, **options: Any) -> dict[str, Any]:
    # Worker processes take longer to start than to read these images: few tests need them.
    given = {"size": 4, "batch_size": 8, "num_workers": 0, **options}
    return {**default_config(), "root": root, "num_classes": num_classes_of(root), **given}


@functools.cache
def default_config() -> dict[str, Any]:
    return to_container(compose("train", ["data=image_folder"]).data)


def module_of(root: Path, **options: Any) -> ImageFolderModule:
    module = instantiate(config_of(str(root), **options), "data")
    assert isinstance(module, ImageFolderModule)
    return module


def ready(root: Path, **options: Any) -> ImageFolderModule:
    module = module_of(root, **options)
    module.prepare_data()
    module.setup("fit")
    return module


def batches(module: ImageFolderModule, split: str, epoch: int = 0) -> list[Batch]:
    loader = getattr(module, f"{split}_dataloader")()
    loader.batch_sampler.set_epoch(epoch)
    return list(loader)


def whole(module: ImageFolderModule, split: str) -> Batch:
    images, labels = zip(*batches(module, split), strict=True)
    return torch.cat(images), torch.cat(labels)


def reds(images: Tensor) -> list[int]:
    return sorted(int(value) for value in images[:, 0, 0, 0].mul(255).round())


def labels_of_images(module: ImageFolderModule, split: str) -> dict[bytes, int]:
    images, labels = whole(module, split)
    return dict(zip((image.numpy().tobytes() for image in images), labels.tolist(), strict=True))


def assert_same(found: list[Batch], expected: list[Batch]) -> None:
    assert len(found) == len(expected) > 0
    for (images, labels), (expected_images, expected_labels) in zip(found, expected, strict=True):
        assert torch.equal(images, expected_images)
        assert torch.equal(labels, expected_labels)


# -- an image -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(40, 8), (8, 40)])
def test_the_centre_square_is_cropped_and_scaled_with_antialiasing(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    # Beyond the middle square all is white; within it, stripes as fine as pixels can be.
    pixels = np.full((8, 40), 255, dtype=np.uint8)
    pixels[:, 16:24] = 0
    pixels[:, 16:24:2] = 200
    for name in ("a", "b", "c", "d"):
        image = Image.fromarray(pixels if size[0] > size[1] else pixels.T.copy())
        image.save(tmp_path / f"{name}.png")
    images, _ = whole(ready(tmp_path, channels=1, val_size=1), "test")
    assert images.shape[1:] == (1, 4, 4)
    # Each pixel averages over stripes; nearest-neighbour scaling would give one of the two colours.
    assert 0.25 < float(images.min()) <= float(images.max()) < 0.55


def test_files_of_any_mode_are_read_as_grey_or_as_colour(tmp_path: Path) -> None:
    for number, mode in enumerate(("RGB", "L", "RGBA", "P", "CMYK")):
        ending = "jpg" if mode == "CMYK" else "png"
        write_image(tmp_path / f"{number}.{ending}", 100, mode=mode)
    for channels in (1, 3):
        module = ready(tmp_path, channels=channels, val_size=1, test_size=1)
        for split in SPLITS:
            images, _ = whole(module, split)
            assert images.shape[1:] == (channels, 4, 4)
            assert images.dtype == torch.float32
    assert module.num_images == {"train": 3, "val": 1, "test": 1}


def test_images_are_rotated_upright_by_their_exif_tag(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8), dtype=np.uint8)
    pixels[:4] = 255  # as stored, the upper half is white
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held on its side: the right half is
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=turned)
    image = read_image(tmp_path / "turned.png", 1)[0]
    assert (image[:, 4:] == 255).all()
    assert (image[:, :4] == 0).all()


def test_greys_of_sixteen_bits_keep_their_brightness(tmp_path: Path) -> None:
    pixels = (np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000).astype(np.uint16)
    Image.fromarray(pixels).save(tmp_path / "deep.png")
    assert torch.equal(
        read_image(tmp_path / "deep.png", 1)[0], torch.from_numpy((pixels >> 8).astype(np.uint8))
    )


# -- splits and classes ---------------------------------------------------------------------------


def test_a_folder_without_splits_is_split_by_fractions_in_the_same_way_for_every_seed(
    folder: Path,
) -> None:
    one, other = (ready(folder, test_size=0.2, val_size=0.25, seed=seed) for seed in (0, 7))
    assert one.num_images == other.num_images == {"train": 24, "val": 8, "test": 8}
    for split in ("val", "test"):
        assert_same(batches(one, split), batches(other, split))
    images = torch.cat([whole(one, split)[0] for split in SPLITS])
    assert len(images.flatten(1).unique(dim=0)) == 40  # each image in exactly one split


def test_splits_can_be_given_in_numbers(folder: Path) -> None:
    module = ready(folder, test_size=5, val_size=3)
    assert module.num_images == {"train": 32, "val": 3, "test": 5}


def test_the_folders_train_val_and_test_are_the_splits(tmp_path: Path) -> None:
    levels = {"train": range(10), "val": range(10, 14), "test": range(14, 20)}
    for split, some in levels.items():
        for level in some:
            write_image(tmp_path / split / f"{level}.png", level)
    module = ready(tmp_path)
    for split, some in levels.items():
        assert reds(whole(module, split)[0]) == list(some)
    # Without val/, validation images are drawn from the training images only.
    for file in (tmp_path / "val").iterdir():
        file.unlink()
    (tmp_path / "val").rmdir()
    module = ready(tmp_path, val_size=2)
    assert sorted(reds(whole(module, "train")[0]) + reds(whole(module, "val")[0])) == [*range(10)]
    assert reds(whole(module, "test")[0]) == list(levels["test"])


def test_classes_are_the_sorted_first_level_folders_at_any_depth_of_the_images(
    tmp_path: Path,
) -> None:
    for label, name in enumerate(("ape", "bee", "cow")):
        for number in range(6):
            write_image(
                tmp_path / name / ("deep" if number % 2 else ".") / f"{number}.png", 50 * label
            )
    module = ready(tmp_path, test_size=6, val_size=4)
    assert list(module.class_names) == ["ape", "bee", "cow"]
    for split in SPLITS:
        images, labels = whole(module, split)
        assert images[:, 0, 0, 0].mul(255).round().tolist() == (50 * labels).tolist()
    # Pictures show the first images, so these are not one class after the other.
    tested = module.images("test", 6)[1].tolist()
    assert tested != sorted(tested)


def test_folders_named_by_numbers_are_classes_in_the_order_of_the_numbers(tmp_path: Path) -> None:
    for label in range(11):
        for number in range(3):
            write_image(tmp_path / str(label) / f"{number}.png", 10 * label)
    module = ready(tmp_path, held_out=[2], test_size=11, val_size=0)
    assert list(module.class_names) == [str(label) for label in range(11)]
    images, labels = whole(module, "train")
    assert images[:, 0, 0, 0].mul(255).round().tolist() == (10 * labels).tolist()
    assert set(labels.tolist()) <= set(range(11)) - {2}
    text = module_of(tmp_path, class_order="text", test_size=11)
    assert list(text.class_names) == ["0", "1", "10", *"23456789"]
    # The same images are in each split: the order of the files does not depend on it.
    assert text.source.file_names("test") == module.source.file_names("test")


def test_digits_within_names_are_ordered_as_numbers_too(tmp_path: Path) -> None:
    names = ["2", "10", "b1c2", "b1c10", "b02", "c"]
    for name in names:
        (tmp_path / name).mkdir()
    assert class_folders(tmp_path, "number") == names


@pytest.mark.parametrize("folders", [["."], ["only"], [".", "a", "b"]])
def test_images_in_no_folder_or_in_one_have_no_classes(tmp_path: Path, folders: list[str]) -> None:
    for number in range(12):
        write_image(tmp_path / folders[number % len(folders)] / f"{number}.png", number)
    module = ready(tmp_path, test_size=2, val_size=2)
    assert list(module.class_names) == []
    assert whole(module, "train")[1].tolist() == [0] * 8


def test_a_held_out_class_is_in_no_split_and_is_returned_for_detection(folder: Path) -> None:
    module = module_of(folder, held_out=[1], test_size=10, val_size=4)
    module.setup("fit")
    counts = module.num_images
    for split in SPLITS:
        labels = whole(module, split)[1]
        assert labels.unique().tolist() == [0]
        assert len(labels) == counts[split]
    images, labels = module.held_out_images()
    assert labels.unique().tolist() == [1]
    assert len(images) == 10 - counts["test"]


# The second is less than all images take, and more than the test images.
@pytest.mark.parametrize("max_resident_gb", [4, 6e-6])
def test_test_images_are_named_by_their_files_even_if_some_cannot_be_read(
    folder: Path, max_resident_gb: float
) -> None:
    options = {"held_out": [1], "test_size": 20, "channels": 3, "size": 9}
    module = module_of(folder, max_resident_gb=max_resident_gb, **options)
    files = module.source.file_names("test")
    assert files is not None
    for name in ("cat", "dog"):
        (folder / next(file for file in files if file.startswith(name))).write_bytes(b"no image")
    module.setup("test")
    for held_out, name in ((False, "cat"), (True, "dog")):
        found = module.named_test_images(held_out=held_out)
        of_class = [file for file in files if file.startswith(name)]
        assert list(found.names) == of_class[1:]
        for file, image in zip(found.names, found.images, strict=True):
            assert torch.equal(image, crop_and_resize(read_image(folder / file, 3), 9))


@pytest.mark.parametrize("max_resident_gb", [4, 0])
def test_images_are_cropped_around_the_centre_to_a_format_that_is_not_square(
    tmp_path: Path, max_resident_gb: int
) -> None:
    pixels = np.zeros((40, 30), np.uint8)
    pixels[10:30] = 200  # 20 x 30 pixels, in the format of 8 x 12
    for number in range(8):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    module = ready(tmp_path, size=[8, 12], channels=1, max_resident_gb=max_resident_gb)
    images, _ = next(iter(module.train_dataloader()))
    assert images.shape[1:] == (1, 8, 12) == module.image_shape
    assert (images * 255 == 200).all()
    assert module.mean_image().shape == (1, 8, 12)


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_resident_gb", [4, 0])
def test_broken_files_are_named_counted_and_left_out(
    folder: Path, max_resident_gb: int, capsys: pytest.CaptureFixture[str]
) -> None:
    intact = ready(folder, test_size=8, val_size=8, max_resident_gb=max_resident_gb)
    assert capsys.readouterr().err == ""
    expected = {split: labels_of_images(intact, split) for split in SPLITS}
    file = folder / "cat" / "03.png"
    file.write_bytes(file.read_bytes()[:150])
    (folder / "dog" / "brown" / "08.png").write_bytes(b"no image")
    module = ready(folder, test_size=8, val_size=8, max_resident_gb=max_resident_gb)
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    for part in ("warning: 2 files", "cat/03.png", "dog/brown/08.png", "data.on_error=raise"):
        assert part in said
    assert sum(module.num_images.values()) == 38
    for split in SPLITS:
        # The other images stay in their splits, and keep their labels.
        found = labels_of_images(module, split)
        assert found.items() <= expected[split].items()
        assert len(found) == module.num_images[split]


@pytest.mark.parametrize("max_resident_gb", [4, 0])
def test_a_broken_file_is_an_error_if_on_error_is_raise(folder: Path, max_resident_gb: int) -> None:
    (folder / "cat" / "03.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"cat/03\.png .*data\.on_error=skip") as error:
        ready(folder, on_error="raise", max_resident_gb=max_resident_gb)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("split", [".", "train"])
def test_files_that_are_not_read_are_counted_by_their_endings(
    tmp_path: Path, split: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(10):
        write_noise(tmp_path / split / "a" / f"{number}.png", number)
        (tmp_path / split / "a" / f"{number}.HEIC").write_bytes(b"")
    (tmp_path / split / "notes").write_text("")
    (tmp_path / split / ".hidden").write_text("")
    write_noise(tmp_path / "extra" / "1.png", 1)
    ready(tmp_path)
    (line,) = capsys.readouterr().err.splitlines()
    counts = "10 .heic, 1 no ending"
    if split == "train":  # otherwise the folder is one of the training images
        counts = "10 .heic, 1 no ending, 1 outside of train/, val/ and test/"
    total = 12 if split == "train" else 11
    assert line == f"warning: {tmp_path} holds {total} files that are not read: {counts}"


@pytest.mark.parametrize("max_resident_gb", [4, 0])
@pytest.mark.parametrize("binarize", ["none", "threshold"])
def test_a_split_whose_pixels_all_have_one_value_is_warned_of(
    tmp_path: Path, max_resident_gb: int, binarize: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(10):
        write_image(tmp_path / "train" / f"{number}.png", 255, mode="L")
        write_noise(tmp_path / "test" / f"{number}.png", number)
    options = {"val_size": 2, "channels": 1, "binarize": binarize}
    module = ready(tmp_path, max_resident_gb=max_resident_gb, **options)
    level = int(whole(module, "train")[0].max() * 255)
    (line,) = capsys.readouterr().err.splitlines()
    assert f"warning: all pixels of all images of a split have one value: train ({level})" in line
    assert f", val ({level}): there is nothing to learn" in line


def test_a_folder_of_broken_files_only_is_an_error(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"{number}.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="no image of the train split is left"):
        ready(tmp_path)


def _emptied(folder: Path) -> None:
    for file in folder.rglob("*.png"):
        file.unlink()


def _one_class_emptied(folder: Path) -> None:
    _emptied(folder / "cat")


def _another_class_to_test(folder: Path) -> None:
    write_image(folder / "train" / "cat" / "0.png", 1)
    write_image(folder / "train" / "dog" / "0.png", 1)
    write_image(folder / "test" / "cow" / "0.png", 1)


def _nothing_to_train_on(folder: Path) -> None:
    write_image(folder / "test" / "0.png", 1)


def _empty_test_folder(folder: Path) -> None:
    write_image(folder / "train" / "0.png", 1)
    (folder / "test").mkdir()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_emptied, "holds no image"),
        (_one_class_emptied, r"data\.root=.*mine holds a class without images: .*cat"),
        (_another_class_to_test, r"cow/0\.png is in none of them: they are cat, dog"),
        (_nothing_to_train_on, "holds a folder test and no folder train"),
        (_empty_test_folder, "mine/test holds no image"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_when_names_are_read(
    folder: Path, change: Callable[[Path], None], message: str
) -> None:
    change(folder)
    with pytest.raises(UserError, match=message) as error:
        module_of(folder)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 2}, r"data\.channels=2 .*1 is grey, 3 is colour"),
        ({"size": 0}, r"data\.size=0 is out of range"),
        ({"test_size": 0}, r"data\.test_size=0 leaves nothing to test on: .* 40 training images"),
        ({"test_size": 40}, r"data\.test_size=40 leaves nothing to train on"),
        ({"test_size": 2.5}, r"data\.test_size=2\.5 is neither"),
        ({"test_size": -1}, r"data\.test_size=-1 is out of range"),
        ({"val_size": 36}, r"data\.val_size=36 leaves nothing to train on: .* 36 images"),
        ({"num_classes": 3}, r"data\.num_classes=3: mine has 2"),
        ({"held_out": [2]}, r"class 2 does not exist, those of mine are 0 to 1"),
        ({"on_error": "ignore"}, r"data\.on_error=ignore should be one of skip, raise"),
        ({"max_resident_gb": -1}, r"data\.max_resident_gb=-1 is out of range"),
        ({"num_workers": -1}, r"data\.num_workers=-1 is out of range"),
    ],
)
def test_an_invalid_setting_is_refused_with_its_key(
    folder: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        module_of(folder, **options)


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("missing", r"data\.root=missing does not exist"),
        (__file__, "is not a folder"),
        (None, "root is missing: name the folder of your images"),
    ],
)
def test_a_root_that_is_not_a_folder_is_refused(root: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        instantiate(config_of(root), "data")


# -- streaming ------------------------------------------------------------------------------------


@pytest.mark.parametrize("binarize", ["none", "fixed", "dynamic"])
def test_streamed_images_are_the_resident_images_in_the_same_order(
    folder: Path, binarize: str
) -> None:
    options: dict[str, Any] = {"binarize": binarize, "test_size": 10, "val_size": 6}
    options |= {"num_workers": 2 if binarize == "fixed" else 0, "batch_size": 5}
    resident, streamed = (ready(folder, max_resident_gb=gb, **options) for gb in (4, 0))
    assert isinstance(resident.train_dataloader(), ResidentBatches)
    assert isinstance(streamed.train_dataloader(), StreamedBatches)
    assert resident.num_images == streamed.num_images
    for split in SPLITS:
        assert_same(batches(streamed, split), batches(resident, split))
        assert_same([streamed.images(split, 3)], [resident.images(split, 3)])
    assert_same(batches(streamed, "train", epoch=1), batches(resident, "train", epoch=1))
    assert torch.equal(streamed.mean_image(), resident.mean_image())
    assert_same([streamed.held_out_images()], [resident.held_out_images()])


def test_no_two_images_are_binarised_with_the_same_noise(tmp_path: Path) -> None:
    for number in range(30):
        write_image(tmp_path / f"{number}.png", 128)
    module = ready(tmp_path, binarize="fixed", size=8, test_size=8, val_size=4)
    images = torch.cat([whole(module, split)[0] for split in SPLITS])
    assert images.unique().tolist() == [0, 1]
    assert len(images.flatten(1).unique(dim=0)) == 30


def test_images_are_streamed_if_they_take_more_memory_than_the_limit(folder: Path) -> None:
    gigabytes = 40 * 3 * 4 * 4 / 1e9
    for factor, loader in ((1.01, ResidentBatches), (0.99, StreamedBatches)):
        module = ready(folder, max_resident_gb=factor * gigabytes)
        assert isinstance(module.train_dataloader(), loader)


def test_reading_all_images_of_a_split_at_once_is_an_error_beyond_the_limit(folder: Path) -> None:
    module = ready(folder, max_resident_gb=1e-9)
    with pytest.raises(DataError, match=r"the train images take .* data\.max_resident_gb=1e-09"):
        module.evaluated("train")
    # Smaller splits of a large folder do fit.
    limit = 30 * 3 * 4 * 4 / 1e9
    assert len(ready(folder, max_resident_gb=limit, test_size=8).evaluated("test")[0]) == 8


@pytest.mark.parametrize("binarize", ["none", "dynamic"])
def test_a_resumed_epoch_streams_exactly_the_remaining_batches(folder: Path, binarize: str) -> None:
    module = ready(folder, max_resident_gb=0, binarize=binarize)
    everything = batches(module, "train", epoch=2)
    loader = module.train_dataloader()
    loader.batch_sampler.set_epoch(2)
    iterator = iter(loader)
    next(iterator), next(iterator)
    resumed = module.train_dataloader()
    resumed.load_state_dict(loader.state_dict())
    resumed.batch_sampler.set_epoch(2)
    assert_same(list(resumed), everything[2:])


def test_two_processes_stream_disjoint_halves(folder: Path) -> None:
    module = ready(folder, max_resident_gb=0)
    images = module._splits["train"]
    halves = [
        torch.cat([x for x, _ in images.batches(8, shuffle=True, process=(rank, 2))])
        for rank in (0, 1)
    ]
    assert len(halves[0]) == len(halves[1])
    both = torch.cat(halves).flatten(1)
    assert len(both.unique(dim=0)) == len(both)


def test_workers_ignore_an_interrupt_so_that_a_run_can_finish_its_step(
    folder: Path,
) -> None:
    module = ready(folder, max_resident_gb=0, batch_size=2, num_workers=1)
    iterator = iter(module.train_dataloader())
    drawn = [next(iterator)]
    (worker,) = multiprocessing.active_children()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGINT)
    drawn += iterator
    assert len(drawn) == module.num_images["train"] / 2


def test_a_file_deleted_while_images_are_streamed_is_named_in_one_line(
    folder: Path,
) -> None:
    module = ready(folder, max_resident_gb=0, num_workers=1)
    _emptied(folder)
    with pytest.raises(DataError, match=r"\.png is not an image that can be read") as error:
        batches(module, "train")
    assert len(str(error.value).splitlines()) == 1
    assert "Traceback" not in str(error.value)


def test_training_on_streamed_images_is_training_on_resident_ones(
    folder: Path, tmp_path: Path
) -> None:
    states, elbos = [], []
    for gigabytes in (4, 0):
        data = module_of(folder, max_resident_gb=gigabytes, channels=3)
        module = tiny_module(tiny_vae(image_shape=(3, 4, 4)))
        trainer = tiny_trainer(tmp_path, max_epochs=1)
        trainer.fit(module, data)
        states.append(torch.cat([p.flatten() for p in module.parameters()]))
        elbos.append({tag: float(x) for tag, x in trainer.callback_metrics.items()})
    assert elbos[0] == elbos[1]
    assert torch.equal(*states)


# -- the commands ---------------------------------------------------------------------------------


def test_a_run_prints_the_numbers_of_readable_images(
    folder: Path, call_train: CallTrain, tmp_path: Path
) -> None:
    (folder / "cat" / "03.png").write_bytes(b"no image")
    options = ("data=image_folder", f"data.root={folder}", "data.size=8", "data.test_size=8")
    outcome = call_train(*options, "model=conditional", *RUN)
    assert outcome.status == 0, outcome.err
    assert "cat/03.png" in outcome.err
    (run,) = (tmp_path / "outputs" / "train" / "runs").iterdir()
    checkpoint = Checkpoint(run)
    config, data = checkpoint.config, checkpoint.data()
    data.setup("test")
    counts = data.num_images
    assert sum(counts.values()) == 39
    assert (
        f"mine: {counts['train']} training, {counts['val']} validation (split), "
        f"{counts['test']} test images" in outcome.out
    )
    assert "\nclasses 0: cat, 1: dog\n" in outcome.out
    # Classes are counted for the model too.
    assert config["model"]["num_classes"] == config["data"]["num_classes"] == 2
    assert (run / "pictures" / "samples" / "test.png").exists()


def test_images_without_classes_are_trained_on_drawn_and_evaluated(
    call_train: CallTrain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        write_noise(tmp_path / "mine" / f"{number}.png", number)
    options = ("data=image_folder", "data.root=mine", "data.size=12", "data.test_size=6")
    outcome = call_train(*options, "model.latent_dim=2", "model/likelihood=normal", *RUN)
    assert outcome.status == 0, outcome.err
    (run,) = (tmp_path / "outputs" / "train" / "runs").iterdir()
    for name in ("latent_scatter", "manifold", "reconstructions"):
        assert (run / "pictures" / name / "test.png").exists()

    # Where downloads lie says nothing about where these images are.
    monkeypatch.setenv("VAE_LIGHTNING_DATA", str(tmp_path / "elsewhere"))
    settings = [f"ckpt_path={run}", "device=cpu", "num_samples=2"]
    config = to_container(compose("evaluate", [*settings, f"paths.run_dir={tmp_path / 'found'}"]))
    evaluate(prepare(config))
    metrics = read_metrics(tmp_path / "found")
    assert metrics["test/mse"] > 0
    assert metrics["protocol"]["images"] == 6
    assert metrics["protocol"]["feature_space"] is None
    assert not {"test/knn_accuracy", "test/frechet_distance"} & set(metrics)
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == sorted(
        f"{number}.png" for number in range(30)
    )


def test_a_conditional_model_of_images_without_classes_is_refused(tmp_path: Path) -> None:
    for number in range(10):
        write_noise(tmp_path / "mine" / f"{number}.png", number)
    overrides = ["data=image_folder", f"data.root={tmp_path / 'mine'}", "model=conditional"]
    config = to_container(compose("train", [*overrides, f"paths.run_dir={tmp_path / 'run'}"]))
    with pytest.raises(ConfigError, match="the data has no labels to condition on; use model=vae"):
        build(config)
