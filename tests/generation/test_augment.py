"""`mode=augment`: the files that are written, and the comparison of accuracies."""

import csv
import json
import math
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.datasets import ImageFolder

from tiny import TinySource, composed_model, tiny_data, tiny_vae
from untrained import generate_config, run_generate, write_checkpoint
from vae_lightning import load
from vae_lightning.config import instantiate
from vae_lightning.data import ImageDataModule
from vae_lightning.data.image_files import read_image
from vae_lightning.data.sources import Digits, Source
from vae_lightning.distributions.spaces import perturbed
from vae_lightning.errors import ConfigError, DataError
from vae_lightning.generation import augment_evaluation
from vae_lightning.generation.augment import AugmentMode
from vae_lightning.generation.augment_evaluation import (
    AccuracyComparison,
    choose_labelled,
    compare,
)
from vae_lightning.generation.augment_folder import class_folders
from vae_lightning.generation.augment_methods import LabelledImages, generator, sources
from vae_lightning.generation.run import prepare
from vae_lightning.utils.pixels import to_uint8

# Few training images.
SMALL = (
    "data=digits", "data.size=8", "data.val_size=1237", "model.latent_dim=4",
    "model.encoder.hidden=[16]", "model.decoder.hidden=[16]",
)  # fmt: skip
QUICK: dict[str, Any] = {"per_class": 3, "measure": False}
Checkpoint = Callable[..., Path]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Writes a checkpoint of a model that was not trained, and returns the file."""

    @cache
    def write(*overrides: str) -> Path:
        return write_checkpoint(tmp_path_factory.mktemp("run") / "best.ckpt", *SMALL, *overrides)

    return write


@pytest.fixture(scope="module")
def plain(checkpoint: Checkpoint) -> Path:
    return checkpoint()


def augment(path: Path, folder: Path, **options: Any) -> Path:
    run_generate(path, folder, "augment", **(QUICK | options))
    return folder


def manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}


def data_of(path: Path, **changes: Any) -> ImageDataModule:
    data = instantiate(torch.load(path)["config"]["data"] | changes, "data")
    data.setup("test")
    return data


def test_an_image_folder_reads_original_and_generated_images_with_their_labels(
    plain: Path, tmp_path: Path
) -> None:
    folder = augment(plain, tmp_path / "results")
    read = ImageFolder(str(folder / "images"))
    assert read.classes == list("0123456789")
    labels = data_of(plain).evaluated("train")[1].tolist()
    originals = Counter(labels)
    assert Counter(read.targets) == {label: originals[label] + 3 for label in range(10)}
    by_file = {row["file"]: int(row["label"]) for row in manifest(folder)}
    assert len(by_file) == len(labels) + 30
    for file, label in read.samples:
        assert by_file[Path(file).relative_to(folder).as_posix()] == label


def test_the_manifest_names_the_image_that_each_was_generated_from(
    plain: Path, tmp_path: Path
) -> None:
    # Without noise, an image is reconstructed.
    folder = augment(plain, tmp_path / "results", scale=0.0, seed=7)
    images, labels = data_of(plain).evaluated("train")
    model = load(plain)
    rows = manifest(folder)
    assert Counter(row["origin"] for row in rows) == {"original": len(images), "generated": 30}
    sources = [int(row["source"]) for row in rows]
    assert sorted(sources[: len(images)]) == list(range(len(images)))
    for row, source in zip(rows, sources, strict=True):
        assert (int(row["label"]), row["class"]) == (labels[source], str(int(labels[source])))
        generated = row["origin"] == "generated"
        assert (row["method"], row["seed"]) == (("perturb", "7") if generated else ("", ""))
        expected = images[source].int()
        if generated:
            expected = to_uint8(model.reconstruct(images[source][None] / 255))[0].int()
        # Other sizes of batches round otherwise.
        assert (read_image(folder / row["file"], 1).int() - expected).abs().max() <= 1


def test_generated_images_depend_on_the_noise_and_its_seed(plain: Path, tmp_path: Path) -> None:
    runs: dict[str, dict[str, Any]] = {"a": {}, "b": {}, "c": {"scale": 0.0}, "d": {"seed": 1}}
    first, again, still, other = (
        contents(augment(plain, tmp_path / name, originals=False, **options) / "images")
        for name, options in runs.items()
    )
    assert first == again
    assert len(first) == 30
    assert all(first[name] != still[name] and first[name] != other[name] for name in first)


def test_test_images_are_never_used(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = contents(augment(plain, tmp_path / "a"))
    load_split = Digits.load

    def other_test_split(self: Source, root: Path, train: bool) -> tuple[Tensor, Tensor]:
        images, labels = load_split(self, root, train)  # type: ignore[arg-type]
        return (images, labels) if train else (255 - images, labels.flip(0))

    monkeypatch.setattr(Digits, "load", other_test_split)
    assert contents(augment(plain, tmp_path / "b")) == first


def test_a_conditional_model_draws_each_class_with_its_own_label(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoint("model=conditional")
    model = load(path)
    # At the same latents, nothing but the label tells images apart.
    monkeypatch.setattr(
        type(model), "draw_latents", lambda self, count, temperature: torch.zeros(count, 4)
    )
    folder = augment(path, tmp_path / "results", originals=False)
    rows = manifest(folder)
    assert Counter(row["label"] for row in rows) == dict.fromkeys("0123456789", 3)
    expected = to_uint8(model.mean_images(torch.zeros(10, 4), torch.arange(10))).int()
    assert len(expected.unique(dim=0)) == 10
    for row in rows:
        assert (row["method"], row["source"]) == ("conditional", "")
        image = read_image(folder / row["file"], 1).int()
        assert (image - expected[int(row["label"])]).abs().max() <= 1


def test_originals_of_a_binarised_model_are_grey_and_held_out_classes_are_left_out(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    path = checkpoint("data.binarize=dynamic", "data.held_out=[3]")
    folder = augment(path, tmp_path / "results", scale=0.0)
    images, labels = data_of(path, binarize="none").evaluated("train")
    inputs, _ = data_of(path).evaluated("train")
    model = load(path)
    rows = manifest(folder)
    assert {row["label"] for row in rows} == set("012456789")
    for row in rows[::20] + rows[-5:]:
        source = int(row["source"])
        assert int(row["label"]) == labels[source]
        expected = images[source].int()
        if row["origin"] == "generated":
            expected = to_uint8(model.reconstruct(inputs[source][None] / 255))[0].int()
        assert (read_image(folder / row["file"], 1).int() - expected).abs().max() <= 1


def test_accuracies_are_measured_printed_and_recorded(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = augment(
        plain, tmp_path / "results", seed=3,
        measure=True, labels_per_class=[1000, 5], seeds=2, steps=10,
    )  # fmt: skip
    out = capsys.readouterr().out
    accuracy = json.loads((folder / "generate.json").read_text())["accuracy"]
    assert (accuracy["seeds"], accuracy["steps"], accuracy["test_images"]) == ([3, 4], 10, 360)
    (size,) = accuracy["sizes"]
    assert size["labels_per_class"] == 5
    assert len(size["without"]["by_seed"]) == len(size["augmented"]["by_seed"]) == 2
    assert f"5 labels per class: {size['verdict']}" in out
    assert accuracy["left_out"] == [1000]
    smallest = min(Counter(data_of(plain).evaluated("train")[1].tolist()).values())
    assert f"1,000 labels per class: left out, the smallest class has {smallest} " in out
    assert "without their labels" in out
    for name in ("augment.png", "accuracy.png"):
        assert (folder / name).stat().st_size > 1000


Labelled = tuple[Tensor, Tensor]


@pytest.fixture
def training_sets(monkeypatch: pytest.MonkeyPatch) -> list[Labelled]:
    """What classifiers are trained on, in order."""
    used: list[Labelled] = []
    trained = augment_evaluation._trained

    def spy(images: Tensor, labels: Tensor, *rest: int) -> Any:
        used.append((images, labels))
        return trained(images, labels, *rest)

    monkeypatch.setattr(augment_evaluation, "_trained", spy)
    return used


def numbered(count: int, offset: int) -> Labelled:
    """Images of which the first two pixels say which they are; three classes in turn."""
    numbers = torch.arange(offset, offset + count)
    images = torch.randint(
        0, 256, (count, 1, 4, 4), generator=torch.Generator().manual_seed(offset)
    ).byte()
    images[:, 0, 0, 0], images[:, 0, 0, 1] = numbers // 256, numbers % 256
    return images, numbers % 3


def numbers_of(images: Tensor) -> Tensor:
    return images[:, 0, 0, 0].long() * 256 + images[:, 0, 0, 1].long()


def compared(
    generate: Any, seeds: range, steps: int = 5, sizes: tuple[int, ...] = (4,)
) -> list[AccuracyComparison]:
    return compare(
        numbered(90, 0),
        numbered(60, 900),
        generate,
        num_classes=3,
        sizes=sizes,
        seeds=seeds,
        per_class=6,
        steps=steps,
        device=torch.device("cpu"),
        advance=lambda count: None,
    )


def test_a_classifier_is_trained_on_its_labelled_images_and_those_generated_from_them(
    training_sets: list[Labelled],
) -> None:
    images, labels = numbered(90, 0)
    compared(lambda indices, labels: 255 - images[indices], range(2))
    assert len(training_sets) == 4
    for (small, small_labels), (large, large_labels) in zip(
        training_sets[::2], training_sets[1::2], strict=True
    ):
        assert torch.equal(large[:12], small) and torch.equal(large_labels[:12], small_labels)
        indices = numbers_of(small)
        assert (indices < 90).all()  # the test images have other numbers
        assert torch.equal(labels[indices], small_labels)
        assert Counter(small_labels.tolist()) == {0: 4, 1: 4, 2: 4}
        origins = numbers_of(255 - large[12:])
        assert len(origins) == 18
        assert set(origins.tolist()) == set(indices.tolist())  # 6 of a class, of its 4 in turn
        assert torch.equal(labels[origins], large_labels[12:])


def test_accuracy_is_of_the_test_images() -> None:
    images, _ = numbered(90, 0)
    unheard_of = torch.full((60,), 3)  # a class that no training image has
    (comparison,) = compare(
        numbered(90, 0), (images[:60], unheard_of), lambda indices, labels: images[indices],
        num_classes=4, sizes=[4], seeds=range(2), per_class=6, steps=20,
        device=torch.device("cpu"), advance=lambda count: None,
    )  # fmt: skip
    assert max(*comparison.without, *comparison.augmented) < 0.1


def test_the_classifiers_of_a_pair_differ_only_in_their_training_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Nothing is generated: only their own noise could make the two differ.
    monkeypatch.setattr(
        augment_evaluation, "sources", lambda labels, indices, per_class: indices[:0]
    )
    images, _ = numbered(90, 0)
    (comparison,) = compared(lambda indices, labels: images[indices], range(4), steps=20)
    assert list(comparison.without) == list(comparison.augmented)
    assert len(set(comparison.without)) > 1


def test_real_images_of_the_right_class_help_and_of_a_wrong_class_do_not() -> None:
    def classes(count: int, seed: int) -> Labelled:
        labels = torch.arange(count) % 3
        noise = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
        noise[torch.arange(count), 0, labels] += 0.3
        return to_uint8(noise / 1.3), labels

    train, test = classes(3000, 0), classes(900, 1)
    fresh, _ = classes(3000, 2)

    def result(generate: Any) -> AccuracyComparison:
        (comparison,) = compare(
            train, test, generate, num_classes=3, sizes=[2], seeds=range(3), per_class=300,
            steps=80, device=torch.device("cpu"), advance=lambda count: None,
        )  # fmt: skip
        return comparison

    # Real images of the right class, and of a wrong one.
    helped = result(lambda indices, own: fresh[torch.randint(1000, own.shape) * 3 + own])
    assert min(helped.without) > 0.4
    assert helped.verdict.startswith("it helps")
    misled = result(lambda indices, own: fresh[torch.randint(1000, own.shape) * 3 + (own + 1) % 3])
    assert misled.verdict.startswith("it does not help: it costs")


def test_a_verdict_has_the_mean_difference_and_its_paired_interval() -> None:
    base = [0.8, 0.82, 0.81, 0.79, 0.8]
    better = AccuracyComparison(
        10, base, [value + 0.05 + 0.001 * k for k, value in enumerate(base)]
    )
    worse = AccuracyComparison(10, better.augmented, base)
    mixed = AccuracyComparison(10, base, [0.83, 0.8, 0.8, 0.8, 0.8])
    assert better.verdict == "it helps, by 5.20 points (95 % interval +5.00 to +5.40)"
    assert worse.verdict.startswith("it does not help: it costs 5.20 points")
    assert mixed.verdict.startswith("no significant difference over 5 seeds (95 % interval -")
    constant = AccuracyComparison(10, base, [value + 0.01 for value in base])
    assert constant.interval == pytest.approx((0.01, 0.01))
    # Student's t of four degrees of freedom at 97.5 % is 2.776.
    low, high = better.interval
    assert (high - low) / 2 == pytest.approx(2.776 * math.sqrt(2.5e-6) / math.sqrt(5), rel=1e-3)


def test_labelled_images_are_chosen_of_each_class_nested_by_size_and_by_seed() -> None:
    labels = torch.randint(0, 5, (200,), generator=torch.Generator().manual_seed(0))
    five, ten = choose_labelled(labels, 5, seed=1), choose_labelled(labels, 10, seed=1)
    assert Counter(labels[ten].tolist()) == dict.fromkeys(range(5), 10)
    assert set(five.tolist()) < set(ten.tolist())
    assert set(five.tolist()) != set(choose_labelled(labels, 5, seed=2).tolist())


def test_the_images_of_a_class_are_sources_in_turn() -> None:
    labels = torch.tensor([1, 0, 1, 2, 0, 1])
    assert sources(labels, torch.tensor([0, 1, 2, 4, 5]), 4).tolist() == [1, 4, 1, 4, 0, 2, 5, 0]


@pytest.mark.parametrize(
    ("names", "folders"),
    [
        (tuple("0123456789"), list("0123456789")),
        (("ant", "bee"), ["ant", "bee"]),
        (("T-shirt", "ankle boot"), ["0_T-shirt", "1_ankle_boot"]),
        (("a/b", "c"), ["0_a_b", "1_c"]),
        (("..", "x"), ["0_..", "1_x"]),
        (("A", "a"), ["0_A", "1_a"]),  # one folder, on some disks
        (tuple(str(k) for k in range(11)), [f"{k:02}_{k}" for k in range(11)]),
    ],
)  # fmt: skip
def test_class_folders_sort_as_the_labels_do(names: tuple[str, ...], folders: list[str]) -> None:
    assert class_folders(names) == folders == sorted(folders)


def test_noise_on_a_sphere_keeps_the_length_and_elsewhere_has_the_given_deviation() -> None:
    torch.manual_seed(0)
    z = torch.randn(20_000, 3)
    deviation = torch.tensor([0.0, 0.5, 2.0])
    assert torch.allclose((perturbed(z, deviation, "euclidean") - z).std(0), deviation, rtol=0.02)
    round_ = perturbed(z, torch.full((3,), 0.5), "sphere")
    assert torch.allclose(round_.norm(dim=1), z.norm(dim=1), rtol=1e-5)
    assert (torch.cosine_similarity(round_, z) < 0.99).any()


@pytest.mark.parametrize(
    "overrides",
    [
        ("model=hierarchical",),
        ("experiment=vq_vae", "data.size=8"),
        ("model/posterior=von_mises_fisher", "model/prior=uniform_sphere"),
        ("model=conditional",),
    ],
)
def test_perturb_works_with_any_model_and_without_noise_reconstructs(
    overrides: tuple[str, ...],
) -> None:
    torch.manual_seed(0)
    model = composed_model(*overrides)
    labels = torch.arange(6) % 3
    images = torch.randint(0, 256, (6, *model.image_shape)).byte()
    model.train()(images / 255, 1, labels)  # codes start at what they encode
    model.eval()
    train = LabelledImages(images, images, labels)
    still, moved = (
        generator(model, train, "perturb", s)(torch.arange(6), labels) for s in (0.0, 2.0)
    )
    expected = to_uint8(model.reconstruct(images / 255, labels))
    assert (still.int() - expected.int()).abs().max() <= 1
    assert moved.shape == images.shape and not torch.equal(moved, still)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ((), {"method": "conditional"}, "mode.method=conditional: this model is not conditional"),
        ((), {"seeds": 1}, "mode.seeds=1 is out of range"),
        ((), {"per_class": 0}, "mode.per_class=0 is out of range"),
        ((), {"scale": -1}, "mode.scale=-1 is out of range"),
        ((), {"labels_per_class": [0]}, "mode.labels_per_class=[0] is out of range"),
        (
            (
                "model/posterior=relaxed_categorical",
                "model/prior=uniform_categorical",
                "model.latent_dim=20",
            ),
            {},
            "mode.method=perturb: the latents of this model are categories",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(
    checkpoint: Checkpoint,
    tmp_path: Path,
    model: tuple[str, ...],
    options: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ConfigError) as error:
        prepare(generate_config(checkpoint(*model), tmp_path / "results", "augment", **options))
    assert str(error.value).startswith(message) and "\n" not in str(error.value)
    assert not (tmp_path / "results").exists()


def test_data_without_labels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TinySource, "class_names", ())
    mode = AugmentMode(None, 1, 0.5, True, False, [1], 2, 1)
    with pytest.raises(DataError, match="tiny has no labels"):
        mode.check(tiny_vae(), partial(tiny_data, num_classes=0))
