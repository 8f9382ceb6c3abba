"""Metrics of samples and reconstructions against closed forms, loops and known damage."""

import pickle
import random
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vae_lightning.data.sources import Digits
from vae_lightning.errors import DataError
from vae_lightning.metrics import features, samples
from vae_lightning.metrics.features import FeatureClassifier, feature_classifier
from vae_lightning.metrics.samples import (
    frechet_distance,
    precision_and_recall,
    reconstruction_quality,
    sample_quality,
)

# The digits need fewer steps than a classifier of MNIST gets.
STEPS = 500


def random_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def digits(train: bool) -> tuple[Tensor, Tensor]:
    return Digits().load(Path("nowhere"), train)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureClassifier]:
    """Trained on the digits' training split; tested on the digits of other writers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "STEPS", STEPS)
        folder = tmp_path_factory.mktemp("classifier")
        yield feature_classifier("digits", *digits(True), *digits(False), 10, folder)


@pytest.fixture(scope="module")
def halves() -> tuple[Tensor, Tensor]:
    """Two sets of 700 different digits, as grey images: what a perfect model would generate."""
    images, _ = digits(True)
    order = torch.randperm(len(images), generator=random_generator())
    first, second = (images[order[:1400]].float() / 255).split(700)
    return first, second


def trained(folder: Path, *, shift: int = 0, name: str = "tiny") -> FeatureClassifier:
    """A classifier of 40 random images; `shift` changes one pixel of one of them."""
    generator = random_generator()
    images = torch.randint(0, 256, (40, 1, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 3, (40,), generator=generator)
    images[7, 0, 2, 3] += shift
    return feature_classifier(name, images[:30], labels[:30], images[30:], labels[30:], 3, folder)


def random_states() -> list[bytes]:
    states = (torch.get_rng_state().tolist(), np.random.get_state(), random.getstate())  # noqa: NPY002
    return [pickle.dumps(state) for state in states]


def weights(model: nn.Module) -> Tensor:
    return torch.cat([parameter.flatten() for parameter in model.parameters()])


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "STEPS", 5)


# The classifier


def test_classifier_classifies_digits_of_other_writers(
    classifier: FeatureClassifier,
) -> None:
    images, labels = digits(False)
    predictions = classifier.logits(images.float() / 255).argmax(1)
    accuracy = (predictions == labels).double().mean().item()
    assert accuracy > 0.85  # one in ten by chance
    assert classifier.test_accuracy == pytest.approx(accuracy)


def test_no_feature_is_constant(classifier: FeatureClassifier) -> None:
    found = classifier(digits(False)[0].float() / 255)
    assert found.shape == (360, classifier.num_features) == (360, 64)
    assert found.std(0).min() > 1e-2


@pytest.mark.usefixtures("few_steps")
def test_training_gives_the_same_weights_for_any_global_seed_and_number_of_threads(
    tmp_path: Path,
) -> None:
    threads = torch.get_num_threads()
    torch.manual_seed(1)
    first = trained(tmp_path / "first")
    try:
        torch.set_num_threads(2)
        torch.manual_seed(2)
        second = trained(tmp_path / "second")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(weights(first), weights(second))
    assert first.space == second.space


@pytest.mark.usefixtures("few_steps")
def test_a_second_call_reads_the_file_instead_of_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = trained(tmp_path)
    (file,) = tmp_path.iterdir()
    content, time = file.read_bytes(), file.stat().st_mtime_ns

    def refuse(*_: object) -> None:
        pytest.fail("trained again")

    monkeypatch.setattr(features, "_train", refuse)
    second = trained(tmp_path)
    assert torch.equal(weights(first), weights(second))
    assert (second.test_accuracy, second.space) == (first.test_accuracy, first.space)
    assert (file.read_bytes(), file.stat().st_mtime_ns) == (content, time)


@pytest.mark.usefixtures("few_steps")
def test_cached_file_holds_tensors_and_plain_containers(tmp_path: Path) -> None:
    model = trained(tmp_path)
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("tiny-")
    content = torch.load(file, weights_only=True)
    assert content["space"] == model.space
    assert content["test_accuracy"] == model.test_accuracy
    assert file.stem.removeprefix("tiny-") == content["data"][:12]


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("damage", ["cut", "empty", "text", "weights", "keys", "other data"])
def test_a_broken_file_is_replaced(tmp_path: Path, damage: str) -> None:
    before = trained(tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    content = torch.load(file, weights_only=True)
    if damage == "cut":
        file.write_bytes(whole[: len(whole) // 2])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "text":
        file.write_text("<html>not found</html>")
    elif damage == "weights":
        content["weights"]["head.bias"][0] += 1
        torch.save(content, file)
    elif damage == "keys":
        del content["weights"]["head.bias"]
        torch.save(content, file)
    else:
        torch.save({**content, "data": "0" * 64}, file)
    after = trained(tmp_path)
    assert torch.equal(weights(before), weights(after))
    assert after.test_accuracy == before.test_accuracy
    assert torch.load(file, weights_only=True)["space"] == before.space
    assert torch.load(file, weights_only=True)["data"].startswith(file.stem.removeprefix("tiny-"))
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.usefixtures("few_steps")
def test_other_images_with_the_same_data_name_have_another_classifier(tmp_path: Path) -> None:
    ours, theirs = trained(tmp_path), trained(tmp_path, shift=1)
    assert len(list(tmp_path.iterdir())) == 2
    assert ours.space != theirs.space


@pytest.mark.usefixtures("few_steps")
def test_other_training_settings_give_another_classifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = trained(tmp_path)
    monkeypatch.setattr(features, "STEPS", 6)
    assert trained(tmp_path).space != before.space


@pytest.mark.usefixtures("few_steps")
def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"old")

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as part:
            part.write(content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match=r"tiny-.*No space left"):
        trained(tmp_path)
    assert list(tmp_path.iterdir()) == [file]
    assert file.read_bytes() == b"old"


@pytest.mark.usefixtures("few_steps")
def test_training_and_reading_keep_the_global_random_state(tmp_path: Path) -> None:
    for seed in (1, 2):  # trained, then read
        # Not the state in which an earlier training may have left it.
        torch.manual_seed(seed)
        before = random_states()
        trained(tmp_path)
        assert random_states() == before


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_trains_if_the_caller_has_disabled_gradients(
    tmp_path: Path, mode: type[torch.no_grad]
) -> None:
    expected = weights(trained(tmp_path / "outside"))
    with mode():
        assert torch.equal(weights(trained(tmp_path / "inside")), expected)


def test_each_epoch_has_every_image_in_another_order() -> None:
    images, labels = torch.zeros(60, 1, 2, 2, dtype=torch.uint8), torch.arange(60)
    epochs = [targets.tolist() for _, targets in islice(features._endless(images, labels), 3)]
    assert all(sorted(order) == list(range(60)) for order in epochs)
    assert all(ours != theirs for ours, theirs in pairwise([list(range(60)), *epochs]))


def test_classifier_is_frozen_and_takes_colour_and_odd_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "STEPS", 1)
    images = torch.zeros(4, 3, 9, 5, dtype=torch.uint8)
    labels = torch.tensor([0, 1, 2, 3])
    model = feature_classifier("colour", images, labels, images, labels, 4, tmp_path)
    assert model.logits(images.float()).shape == (4, 4)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_images_that_are_not_bytes_are_refused(tmp_path: Path) -> None:
    labels = torch.zeros(4, dtype=torch.int64)
    images = torch.zeros(4, 1, 8, 8)
    with pytest.raises(ValueError, match="images must be uint8"):
        feature_classifier("floats", images, labels, images, labels, 2, tmp_path)
    with pytest.raises(ValueError, match=r"len\(images\)=0"):
        feature_classifier("none", images[:0].byte(), labels, images.byte(), labels, 2, tmp_path)


# The Frechet distance


def normal_sample(mean: list[float], covariance: list[list[float]], seed: int) -> Tensor:
    """1,000 points that have exactly this mean and this covariance."""
    noise = torch.randn(1000, 2, dtype=torch.float64, generator=random_generator(seed))
    noise -= noise.mean(0)
    white = torch.linalg.solve_triangular(
        torch.linalg.cholesky(torch.cov(noise.T)), noise.T, upper=False
    )
    factor = torch.linalg.cholesky(torch.tensor(covariance, dtype=torch.float64))
    return (factor @ white).T + torch.tensor(mean, dtype=torch.float64)


# Two covariances that do not commute.
REAL = ([0.4, 0.5], [[0.0016, 0.0006], [0.0006, 0.0009]])
GENERATED = ([0.55, 0.45], [[0.0004, -0.0003], [-0.0003, 0.0025]])


def closed_form() -> float:
    # In two dimensions, tr (A B)^(1/2) = sqrt(tr(A B) + 2 sqrt(det(A B))).
    first, second = np.array(REAL[1]), np.array(GENERATED[1])
    root = np.sqrt(np.trace(first @ second) + 2 * np.sqrt(np.linalg.det(first @ second)))
    shift = np.array(REAL[0]) - np.array(GENERATED[0])
    return float(shift @ shift + np.trace(first) + np.trace(second) - 2 * root)


def test_frechet_distance_of_two_normal_distributions_is_the_closed_form() -> None:
    real, generated = normal_sample(*REAL, seed=1), normal_sample(*GENERATED, seed=2)
    assert frechet_distance(real, generated) == pytest.approx(closed_form(), rel=1e-9)


def test_sample_quality_reports_the_closed_form_of_features_that_are_the_pixels() -> None:
    real, generated = (
        sample.float().reshape(-1, 1, 1, 2)
        for sample in (normal_sample(*REAL, seed=1), normal_sample(*GENERATED, seed=2))
    )
    quality = sample_quality(real, generated, nn.Flatten())
    # Pixels in float32.
    assert quality["frechet_distance"] == pytest.approx(closed_form(), rel=1e-5)


def test_identical_sets_have_distance_zero_and_full_precision_and_recall(
    classifier: FeatureClassifier, halves: tuple[Tensor, Tensor]
) -> None:
    first, second = halves
    same = sample_quality(first, first.flip(0), classifier)
    other = sample_quality(first, second, classifier)
    assert same["frechet_distance"] == pytest.approx(0, abs=1e-6 * other["frechet_distance"])
    assert (same["precision"], same["recall"]) == (1, 1)


def test_frechet_distance_grows_with_noise_and_with_blur(
    classifier: FeatureClassifier, halves: tuple[Tensor, Tensor]
) -> None:
    first, second = halves
    noise = torch.randn(second.shape, generator=random_generator())
    noisy = [(second + scale * noise).clamp(0, 1) for scale in (0, 0.1, 0.2, 0.4)]
    blurred = [second]
    for _ in range(2):
        blurred.append(F.avg_pool2d(blurred[-1], 3, stride=1, padding=1))
    for damaged in (noisy, blurred):
        found = [sample_quality(first, x, classifier)["frechet_distance"] for x in damaged]
        assert all(later > 1.5 * earlier for earlier, later in pairwise(found))


# Precision and recall


def brute_force(real: Tensor, generated: Tensor, neighbours: int = 3) -> tuple[float, float]:
    def fraction_inside(points: list[list[float]], manifold: list[list[float]]) -> float:
        inside = 0
        for point in points:
            for centre in manifold:
                to_others = sorted(
                    np.linalg.norm(np.subtract(centre, other))
                    for other in manifold
                    if other is not centre
                )
                if np.linalg.norm(np.subtract(point, centre)) <= to_others[neighbours - 1]:
                    inside += 1
                    break
        return inside / len(points)

    ours, theirs = real.tolist(), generated.tolist()
    return fraction_inside(theirs, ours), fraction_inside(ours, theirs)


def clouds() -> tuple[Tensor, Tensor]:
    """50 and 40 points; the generated ones lie closer together."""
    real = torch.randn(50, 3, generator=random_generator(1))
    return real, 0.7 * torch.randn(40, 3, generator=random_generator(2)) + 0.8


def test_precision_and_recall_are_those_of_a_loop_over_all_pairs() -> None:
    precision, recall = brute_force(*clouds())
    # Neither trivial nor equal.
    assert 0.1 < recall < precision - 0.1 < 0.8
    assert precision_and_recall(*clouds()) == pytest.approx((precision, recall))


def test_precision_and_recall_do_not_change_far_from_the_origin() -> None:
    # Multiples of 1/256, which float32 holds exactly at either place.
    real, generated = ((points * 256).round() / 256 for points in clouds())
    expected = precision_and_recall(real, generated)
    assert precision_and_recall(real + 2000, generated + 2000) == expected


def test_precision_and_recall_are_not_exchanged() -> None:
    real, generated = (torch.sigmoid(points).reshape(-1, 1, 1, 3) for points in clouds())
    quality = sample_quality(real, generated, nn.Flatten())
    precision, recall = brute_force(real.flatten(1), generated.flatten(1))
    assert (quality["precision"], quality["recall"]) == pytest.approx((precision, recall))
    # A model that generates one typical image only has full precision and no recall.
    typical = real[:1] + 1e-4 * torch.rand(40, 1, 1, 3, generator=random_generator())
    collapsed = sample_quality(real, typical, nn.Flatten())
    assert collapsed["precision"] == 1
    assert collapsed["recall"] <= 0.02


def test_results_do_not_depend_on_the_size_of_blocks(
    classifier: FeatureClassifier, halves: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = halves[0], halves[1][:501]
    expected = sample_quality(first, second, classifier)
    assert 0.5 < expected["precision"] < 1
    assert 0.5 < expected["recall"] < 1
    for pairs in (1, 700 * 13, 501 * 500):
        monkeypatch.setattr(samples, "PAIRS_AT_ONCE", pairs)
        monkeypatch.setattr(samples, "BATCH_SIZE", 1 + pairs % 333)
        assert sample_quality(first, second, classifier) == pytest.approx(expected, rel=1e-5)


def test_unrealistic_images_lower_precision_and_not_recall(
    classifier: FeatureClassifier, halves: tuple[Tensor, Tensor]
) -> None:
    first, second = halves
    before = sample_quality(first, second, classifier)
    mixed = second.clone()
    mixed[:210] = 1 - mixed[:210]  # dark digits on a bright ground
    after = sample_quality(first, mixed, classifier)
    assert after["precision"] < before["precision"] - 0.15  # three in ten are garbage
    assert after["recall"] > before["recall"] - 0.1


def test_missing_classes_lower_recall_and_not_precision(
    classifier: FeatureClassifier,
) -> None:
    images, labels = digits(True)
    order = torch.randperm(len(images), generator=random_generator())
    images, labels = images[order].float() / 255, labels[order]
    real, drawn, of_class = images[:700], images[700:], labels[700:]
    before = sample_quality(real, drawn, classifier)
    after = sample_quality(real, drawn[of_class >= 3], classifier)
    assert after["recall"] < before["recall"] - 0.15  # three classes of ten
    assert after["precision"] > before["precision"] - 0.05


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.full((8, 1, 8, 8), 1.5), r"generated must lie in \[0, 1\], not in \[1.5, 1.5\]"),
        (torch.full((8, 1, 8, 8), -0.1), r"generated must lie in \[0, 1\]"),
        (torch.full((8, 1, 8, 8), float("nan")), r"generated must lie in \[0, 1\]"),
        (torch.zeros(8, 1, 8, 8, dtype=torch.uint8), "generated must be float"),
        (torch.zeros(8, 1, 4, 4), r"generated of \(1, 4, 4\)"),
        (torch.zeros(3, 1, 8, 8), "3 generated images: at least 4"),
    ],
)
def test_images_that_cannot_be_compared_are_refused(images: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample_quality(torch.rand(8, 1, 8, 8), images, nn.Flatten())


# Reconstructions


def reconstructed() -> tuple[Tensor, Tensor]:
    """23 images, of which the last three are rebuilt badly."""
    images = torch.rand(23, 1, 14, 12, generator=random_generator())
    rebuilt = 0.9 * images + 0.05
    rebuilt[20:] = torch.rand(3, 1, 14, 12, generator=random_generator(1))
    return images, rebuilt


def test_mean_squared_error_is_per_pixel_and_per_image() -> None:
    images, rebuilt = reconstructed()
    expected = np.mean((images.double().numpy() - rebuilt.double().numpy()) ** 2)
    assert reconstruction_quality(images, rebuilt)["mse"] == pytest.approx(expected, rel=1e-6)
    shifted = reconstruction_quality(
        torch.full((5, 3, 12, 12), 0.5), torch.full((5, 3, 12, 12), 0.6)
    )
    assert shifted["mse"] == pytest.approx(0.01, rel=1e-5)


def test_structural_similarity_of_flat_images_is_the_closed_form() -> None:
    dark, light = torch.full((4, 1, 28, 28), 0.2), torch.full((4, 1, 28, 28), 0.6)
    found = reconstruction_quality(dark, light)["ssim"]
    # Without variance only the luminance is left, with (0.01 * data range)^2 = 1e-4.
    assert found == pytest.approx((2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4), rel=1e-3)
    assert reconstruction_quality(dark, dark) == pytest.approx({"mse": 0, "ssim": 1})


@pytest.mark.parametrize("batch_size", [1, 5, 20, 23, 100])
def test_both_are_means_over_images_for_any_batch_size(
    batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, rebuilt = reconstructed()
    each = [
        reconstruction_quality(image.unsqueeze(0), guess.unsqueeze(0))
        for image, guess in zip(images, rebuilt, strict=True)
    ]
    expected = {key: np.mean([one[key] for one in each]) for key in ("mse", "ssim")}
    assert expected["ssim"] < min(each[0]["ssim"], 0.99) - 0.05  # the last images matter
    monkeypatch.setattr(samples, "BATCH_SIZE", batch_size)
    assert reconstruction_quality(images, rebuilt) == pytest.approx(expected, rel=1e-5)


def test_images_smaller_than_the_window_have_no_structural_similarity() -> None:
    for shape, keys in (((10, 12), {"mse"}), ((12, 10), {"mse"}), ((11, 11), {"mse", "ssim"})):
        images = torch.rand(3, 1, *shape, generator=random_generator())
        assert reconstruction_quality(images, images.flip(0)).keys() == keys


def test_reconstructions_of_another_shape_or_range_are_refused() -> None:
    images = torch.rand(4, 1, 12, 12, generator=random_generator())
    with pytest.raises(ValueError, match=r"reconstructions of \(3, 1, 12, 12\)"):
        reconstruction_quality(images, images[:3])
    with pytest.raises(ValueError, match="reconstructions must lie in"):
        reconstruction_quality(images, images + 1)


def test_metrics_change_neither_the_global_random_state_nor_the_images(
    classifier: FeatureClassifier, halves: tuple[Tensor, Tensor]
) -> None:
    first, second = (half[:50].clone() for half in halves)
    before = random_states()
    sample_quality(first, second, classifier)
    reconstruction_quality(first, second)
    assert random_states() == before
    assert torch.equal(first, halves[0][:50])
    assert torch.equal(second, halves[1][:50])
