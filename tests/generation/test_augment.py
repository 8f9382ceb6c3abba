"""`python -m vae_lightning.generate mode=augment`: what is written, from what, and its worth."""

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
from vae_lightning import load
from vae_lightning.config import compose, instantiate, to_container
from vae_lightning.data import ImageDataModule
from vae_lightning.data.image_files import read_image
from vae_lightning.data.sources import Digits, Source
from vae_lightning.distributions.spaces import perturbed
from vae_lightning.errors import ConfigError, DataError
from vae_lightning.generation import augment_evaluation
from vae_lightning.generation.augment import Augment
from vae_lightning.generation.augment_evaluation import Worth, few, measure
from vae_lightning.generation.augment_folder import class_folders
from vae_lightning.generation.augment_methods import Labelled, maker, plan
from vae_lightning.generation.run import generate, prepare
from vae_lightning.generation.sampling import as_bytes

# Few steps on images as small as they come: what is tested is what goes in and out.
SMALL = (
    "data=digits", "data.size=8", "data.val_size=1237", "model.latent_dim=4",
    "model.encoder.hidden=[16]", "model.decoder.hidden=[16]",
)  # fmt: skip
QUICK = ("mode=augment", "mode.per_class=3", "mode.measure=false")
Checkpoint = Callable[..., Path]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Writes a checkpoint of a model that was not trained, and returns the file."""

    @cache
    def write(*overrides: str) -> Path:
        config = to_container(compose("train", [*SMALL, "paths.run_dir=unused", *overrides]))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = instantiate(config["model"], "model")
        state = {f"model.{name}": value for name, value in model.state_dict().items()}
        path = tmp_path_factory.mktemp("run") / "best.ckpt"
        torch.save({"config": config, "state_dict": state}, path)
        return path

    return write


@pytest.fixture(scope="module")
def plain(checkpoint: Checkpoint) -> Path:
    return checkpoint()


def composed(path: Path, folder: Path, *overrides: str) -> dict[str, Any]:
    settings = [f"ckpt_path={path}", f"paths.run_dir={folder}", "device=cpu", *QUICK, *overrides]
    return to_container(compose("generate", settings))


def augment(path: Path, folder: Path, *overrides: str) -> Path:
    config = composed(path, folder, *overrides)
    generate(prepare(config))
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


def test_an_image_folder_reads_originals_and_made_images_with_their_labels(
    plain: Path, tmp_path: Path
) -> None:
    folder = augment(plain, tmp_path / "made")
    read = ImageFolder(str(folder / "images"))
    assert read.classes == list("0123456789")
    labels = data_of(plain).evaluated("train")[1].tolist()
    originals = Counter(labels)
    assert Counter(read.targets) == {label: originals[label] + 3 for label in range(10)}
    by_file = {row["file"]: int(row["label"]) for row in manifest(folder)}
    assert len(by_file) == len(labels) + 30
    for file, label in read.samples:
        assert by_file[Path(file).relative_to(folder).as_posix()] == label


def test_the_manifest_points_at_the_image_that_each_was_made_of(
    plain: Path, tmp_path: Path
) -> None:
    # Without noise, what is made of an image is its reconstruction.
    folder = augment(plain, tmp_path / "made", "mode.scale=0", "seed=7")
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
            expected = as_bytes(model.reconstruct(images[source][None] / 255))[0].int()
        # Other sizes of batches round otherwise.
        assert (read_image(folder / row["file"], 1).int() - expected).abs().max() <= 1


def test_noise_changes_what_is_made_and_the_seed_decides_how(plain: Path, tmp_path: Path) -> None:
    only = "mode.originals=false"
    first, again, still, other = (
        contents(augment(plain, tmp_path / name, only, *settings) / "images")
        for name, settings in {
            "a": [], "b": [], "c": ["mode.scale=0"], "d": ["seed=1"],
        }.items()
    )  # fmt: skip
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
        type(model), "sample_latents", lambda self, count, temperature=1.0: torch.zeros(count, 4)
    )
    folder = augment(path, tmp_path / "made", "mode.originals=false")
    rows = manifest(folder)
    assert Counter(row["label"] for row in rows) == dict.fromkeys("0123456789", 3)
    expected = as_bytes(model.mean_images(torch.zeros(10, 4), torch.arange(10))).int()
    assert len(expected.unique(dim=0)) == 10
    for row in rows:
        assert (row["method"], row["source"]) == ("conditional", "")
        made = read_image(folder / row["file"], 1).int()
        assert (made - expected[int(row["label"])]).abs().max() <= 1


def test_originals_are_grey_where_the_model_saw_them_binarised_and_held_out_classes_stay_out(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    path = checkpoint("data.binarize=dynamic", "data.held_out=[3]")
    folder = augment(path, tmp_path / "made", "mode.scale=0")
    images, labels = data_of(path, binarize="none").evaluated("train")
    seen, _ = data_of(path).evaluated("train")
    model = load(path)
    rows = manifest(folder)
    assert {row["label"] for row in rows} == set("012456789")
    for row in rows[::20] + rows[-5:]:
        source = int(row["source"])
        assert int(row["label"]) == labels[source]
        expected = images[source].int()
        if row["origin"] == "generated":
            expected = as_bytes(model.reconstruct(seen[source][None] / 255))[0].int()
        assert (read_image(folder / row["file"], 1).int() - expected).abs().max() <= 1


def test_what_it_is_worth_is_measured_printed_and_kept(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("mode.measure=true", "mode.labels_per_class=[1000,5]", "mode.seeds=2")
    folder = augment(plain, tmp_path / "made", *settings, "mode.steps=10", "seed=3")
    out = capsys.readouterr().out
    worth = json.loads((folder / "generate.json").read_text())["worth"]
    assert (worth["seeds"], worth["steps"], worth["test_images"]) == ([3, 4], 10, 360)
    (size,) = worth["sizes"]
    assert size["labels_per_class"] == 5
    assert len(size["without"]["by_seed"]) == len(size["enlarged"]["by_seed"]) == 2
    assert f"5 labels per class: {size['verdict']}" in out
    assert worth["left_out"] == [1000]
    smallest = min(Counter(data_of(plain).evaluated("train")[1].tolist()).values())
    assert f"1,000 labels per class: left out, the smallest class has {smallest} " in out
    assert "without their labels" in out
    for name in ("augment.png", "accuracy.png"):
        assert (folder / name).stat().st_size > 1000


Given = tuple[Tensor, Tensor]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Given]:
    """What classifiers are trained on, as they come."""
    seen: list[Given] = []
    trained = augment_evaluation._trained

    def spy(images: Tensor, labels: Tensor, *rest: int) -> Any:
        seen.append((images, labels))
        return trained(images, labels, *rest)

    monkeypatch.setattr(augment_evaluation, "_trained", spy)
    return seen


def numbered(count: int, offset: int) -> Given:
    """Images of which the first two pixels say which they are; three classes in turn."""
    numbers = torch.arange(offset, offset + count)
    images = torch.randint(
        0, 256, (count, 1, 4, 4), generator=torch.Generator().manual_seed(offset)
    ).byte()
    images[:, 0, 0, 0], images[:, 0, 0, 1] = numbers // 256, numbers % 256
    return images, numbers % 3


def numbers_of(images: Tensor) -> Tensor:
    return images[:, 0, 0, 0].long() * 256 + images[:, 0, 0, 1].long()


def measured(make: Any, seeds: range, steps: int = 5, sizes: tuple[int, ...] = (4,)) -> list[Worth]:
    return measure(
        numbered(90, 0),
        numbered(60, 900),
        make,
        num_classes=3,
        sizes=sizes,
        seeds=seeds,
        per_class=6,
        steps=steps,
        device=torch.device("cpu"),
        advance=lambda count: None,
    )


def test_a_classifier_sees_its_labelled_images_and_what_is_made_of_them_alone(
    given: list[Given],
) -> None:
    images, labels = numbered(90, 0)
    measured(lambda places, own: 255 - images[places], range(2))
    assert len(given) == 4
    for (small, small_labels), (large, large_labels) in zip(given[::2], given[1::2], strict=True):
        assert torch.equal(large[:12], small) and torch.equal(large_labels[:12], small_labels)
        places = numbers_of(small)
        assert (places < 90).all()  # the test images have other numbers
        assert torch.equal(labels[places], small_labels)
        assert Counter(small_labels.tolist()) == {0: 4, 1: 4, 2: 4}
        made = numbers_of(255 - large[12:])
        assert len(made) == 18
        assert set(made.tolist()) == set(places.tolist())  # 6 of a class, of its 4 in turn
        assert torch.equal(labels[made], large_labels[12:])


def test_accuracy_is_of_the_test_images() -> None:
    images, _ = numbered(90, 0)
    unheard_of = torch.full((60,), 3)  # a class that no training image has
    (worth,) = measure(
        numbered(90, 0), (images[:60], unheard_of), lambda places, own: images[places],
        num_classes=4, sizes=[4], seeds=range(2), per_class=6, steps=20,
        device=torch.device("cpu"), advance=lambda count: None,
    )  # fmt: skip
    assert max(*worth.without, *worth.enlarged) < 0.1


def test_the_two_of_a_pair_differ_in_what_they_see_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # Where nothing is made, the two see the same: only their own noise could tell them apart.
    monkeypatch.setattr(augment_evaluation, "plan", lambda labels, places, per_class: places[:0])
    images, _ = numbered(90, 0)
    (worth,) = measured(lambda places, own: images[places], range(4), steps=20)
    assert list(worth.without) == list(worth.enlarged)
    assert len(set(worth.without)) > 1


def test_labels_are_learnt_and_made_images_can_help() -> None:
    def classes(count: int, seed: int) -> Given:
        labels = torch.arange(count) % 3
        noise = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
        noise[torch.arange(count), 0, labels] += 0.3
        return as_bytes(noise / 1.3), labels

    train, test = classes(3000, 0), classes(900, 1)
    fresh, _ = classes(3000, 2)

    def result(make: Any) -> Worth:
        (worth,) = measure(
            train, test, make, num_classes=3, sizes=[2], seeds=range(3), per_class=300,
            steps=80, device=torch.device("cpu"), advance=lambda count: None,
        )  # fmt: skip
        return worth

    # Real images of the right class, and of a wrong one.
    helped = result(lambda places, own: fresh[torch.randint(1000, own.shape) * 3 + own])
    assert min(helped.without) > 0.4
    assert helped.verdict.startswith("it helps")
    misled = result(lambda places, own: fresh[torch.randint(1000, own.shape) * 3 + (own + 1) % 3])
    assert misled.verdict.startswith("it does not help: it costs")


def test_verdicts_are_in_plain_words() -> None:
    base = [0.8, 0.82, 0.81, 0.79, 0.8]
    better = Worth(10, base, [value + 0.05 + 0.001 * k for k, value in enumerate(base)])
    worse = Worth(10, better.enlarged, base)
    mixed = Worth(10, base, [0.83, 0.8, 0.8, 0.8, 0.8])
    assert better.verdict == "it helps, by 5.20 points (95 % interval +5.00 to +5.40)"
    assert worse.verdict.startswith("it does not help: it costs 5.20 points")
    assert mixed.verdict.startswith("no gain that 5 seeds can tell (95 % interval -")
    # Student's t of four degrees of freedom at 97.5 % is 2.776.
    low, high = better.interval
    assert (high - low) / 2 == pytest.approx(2.776 * math.sqrt(2.5e-6) / math.sqrt(5), rel=1e-3)


def test_few_labels_are_of_each_class_nested_and_of_a_seed() -> None:
    labels = torch.randint(0, 5, (200,), generator=torch.Generator().manual_seed(0))
    five, ten = few(labels, 5, seed=1), few(labels, 10, seed=1)
    assert Counter(labels[ten].tolist()) == dict.fromkeys(range(5), 10)
    assert set(five.tolist()) < set(ten.tolist())
    assert set(five.tolist()) != set(few(labels, 5, seed=2).tolist())


def test_a_plan_takes_the_images_of_a_class_in_turn() -> None:
    labels = torch.tensor([1, 0, 1, 2, 0, 1])
    assert plan(labels, torch.tensor([0, 1, 2, 4, 5]), 4).tolist() == [1, 4, 1, 4, 0, 2, 5, 0]


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


def test_noise_on_a_sphere_keeps_the_length_and_on_the_plane_has_the_deviation_asked_for() -> None:
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
def test_images_that_any_model_has_encoded_are_moved(overrides: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    model = composed_model(*overrides)
    labels = torch.arange(6) % 3
    images = torch.randint(0, 256, (6, *model.image_shape)).byte()
    model.train()(images / 255, 1, labels)  # codes start at what they encode
    model.eval()
    train = Labelled(images, images, labels)
    still, moved = (maker(model, train, "perturb", s)(torch.arange(6), labels) for s in (0.0, 2.0))
    expected = as_bytes(model.reconstruct(images / 255, labels))
    assert (still.int() - expected.int()).abs().max() <= 1
    assert moved.shape == images.shape and not torch.equal(moved, still)


@pytest.mark.parametrize(
    ("model", "setting", "message"),
    [
        ((), "mode.method=conditional", "mode.method=conditional: this model knows no classes"),
        ((), "mode.seeds=1", "mode.seeds=1 is out of range"),
        ((), "mode.per_class=0", "mode.per_class=0 is out of range"),
        ((), "mode.scale=-1", "mode.scale=-1 is out of range"),
        ((), "mode.labels_per_class=[0]", "mode.labels_per_class=[0] is out of range"),
        (
            (
                "model/posterior=relaxed_categorical",
                "model/prior=uniform_categorical",
                "model.latent_dim=20",
            ),
            "mode.scale=1",
            "mode.method=perturb: the latents of this model are categories",
        ),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line(
    checkpoint: Checkpoint, tmp_path: Path, model: tuple[str, ...], setting: str, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        prepare(composed(checkpoint(*model), tmp_path / "made", setting))
    assert str(error.value).startswith(message) and "\n" not in str(error.value)
    assert not (tmp_path / "made").exists()


def test_data_without_labels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TinySource, "class_names", ())
    mode = Augment(None, 1, 0.5, True, False, [1], 2, 1)
    with pytest.raises(DataError, match="tiny has no labels"):
        mode.check(tiny_vae(), partial(tiny_data, num_classes=0))
