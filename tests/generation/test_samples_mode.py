"""`mode=samples`: images, latents and labels, and what a seed means."""

from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from option_grid import PAIRS, model_of, option
from tiny import options, small_codes, tiny_data, tiny_vae
from tiny_samples import DEFAULTS, FakeWorkspace, batches_of, conditional, drawn
from vae_lightning.config import instantiate
from vae_lightning.drawing.labelled_grid import labelled_grid
from vae_lightning.generation import samples
from vae_lightning.generation.samples import SamplesMode
from vae_lightning.models import Model
from vae_lightning.utils.random_state import fixed_noise


def test_an_archive_holds_the_mean_images_of_its_latents(tmp_path: Path) -> None:
    model = tiny_vae().eval()
    found = drawn(model, tmp_path, count=1203)
    assert found["images"].shape == (1203, 1, 4, 4)
    assert found["images"].dtype == np.uint8
    assert found["latents"].shape == (1203, 2)
    assert "labels" not in found
    expected = model.mean_images(torch.from_numpy(found["latents"]))
    assert np.array_equal(found["images"], (expected * 255).round().to(torch.uint8).numpy())
    # They are draws of the prior, and no batch is there twice.
    assert abs(found["latents"].mean()) < 0.1
    assert abs(found["latents"].std() - 1) < 0.1
    assert len(np.unique(found["latents"], axis=0)) == 1203


def test_images_depend_on_the_seed_and_not_on_batches_or_their_number(tmp_path: Path) -> None:
    model = tiny_vae().eval()
    one = drawn(model, tmp_path / "a", count=1100)
    for name, changes in {
        "b": {"count": 1100, "block_size": 7},
        "c": {"count": 1100, "block_size": 1050},
        "d": {"count": 3},
    }.items():
        other = drawn(model, tmp_path / name, **changes)
        count = len(other["latents"])
        assert np.array_equal(other["latents"], one["latents"][:count])
        difference = other["images"].astype(int) - one["images"][:count]
        assert abs(difference).max() <= 1  # a matrix product rounds by its size
    again = drawn(model, tmp_path / "e", count=1100)
    assert np.array_equal(again["images"], one["images"])
    files = [(tmp_path / name / "samples.npz").read_bytes() for name in "ae"]
    assert files[0] == files[1]
    other_seed = drawn(model, tmp_path / "f", seed=1)
    assert not np.isin(other_seed["latents"], one["latents"]).any()


def test_a_lower_temperature_draws_nearer_to_the_mode(tmp_path: Path) -> None:
    model = tiny_vae().eval()
    warm = drawn(model, tmp_path / "a")["latents"]
    cold = drawn(model, tmp_path / "b", temperature=0.25)["latents"]
    np.testing.assert_allclose(cold, 0.25 * warm, rtol=1e-6)


def test_labels_are_all_classes_or_the_chosen_ones_repeated_in_order(tmp_path: Path) -> None:
    model = conditional()
    every = drawn(model, tmp_path / "a", count=5)
    assert every["labels"].tolist() == [0, 1, 2, 0, 1]
    assert every["labels"].dtype == np.int64
    chosen = drawn(model, tmp_path / "b", count=5, classes=[2, 0], block_size=3)
    assert chosen["labels"].tolist() == [2, 0, 2, 0, 2]
    expected = model.mean_images(
        torch.from_numpy(chosen["latents"]), torch.from_numpy(chosen["labels"])
    )
    assert abs(chosen["images"] - expected.numpy() * 255).max() < 0.51


def test_a_folder_of_pngs_holds_the_same_images_by_class(tmp_path: Path) -> None:
    model = conditional()
    npz = drawn(model, tmp_path, count=11)
    mode = SamplesMode(**(DEFAULTS | {"count": 11, "format": "png"}))
    with fixed_noise(0, torch.device("cpu")):
        result = mode.make(FakeWorkspace(model, tmp_path))
    folder = result.files[0]
    files = sorted(folder.rglob("*.png"), key=lambda file: file.name)
    assert [str(file.relative_to(folder)) for file in files[:4]] == [
        "0/00.png", "1/01.png", "2/02.png", "0/03.png"
    ]  # fmt: skip
    read = np.stack([np.array(Image.open(file)) for file in files])
    assert np.array_equal(read, npz["images"][:, 0])
    assert ImageFolder(folder).classes == ["0", "1", "2"]


@pytest.mark.parametrize(("count", "classes", "columns"), [(64, None, 8), (100, [0, 2], 10)])
def test_a_grid_is_about_square_with_columns_for_each_class(
    tmp_path: Path, count: int, classes: list[int] | None, columns: int
) -> None:
    model = tiny_vae().eval() if classes is None else conditional()
    mode = SamplesMode(**(DEFAULTS | {"count": count, "format": "grid", "classes": classes}))
    result = mode.make(FakeWorkspace(model, tmp_path))
    assert [file.name for file in result.files] == ["samples.png"]
    width, _ = Image.open(result.files[0]).size
    margins = 0 if classes is None else 20  # around the names of the classes
    assert width == columns * (48 + 2) + 2 + margins
    assert [file.name for file in tmp_path.iterdir()] == ["samples.png"]


# A VampPrior of posteriors without a density is no model; see test_combinations.
MODELS = [pair for pair in PAIRS if pair != ("deterministic", "vamp")]


# Likelihoods take turns: they do not interact with the latents here.
LIKELIHOODS = options("model/likelihood")
assert len(LIKELIHOODS) <= len(MODELS)


@pytest.mark.parametrize(
    ("posterior", "prior", "likelihood"),
    [(*pair, likelihood) for pair, likelihood in zip(MODELS, cycle(LIKELIHOODS), strict=False)],
)
def test_every_posterior_prior_and_likelihood_gives_samples(
    posterior: str, prior: str, likelihood: str
) -> None:
    torch.manual_seed(0)
    model = model_of(posterior, prior, likelihood).eval()
    before = [value.clone() for value in model.state_dict().values()]
    batch = next(batches_of(model, 3))
    mean = model.mean_images(batch.latents).clamp(0, 1) * 255
    assert (batch.images - mean).abs().max() < 0.51
    assert all(map(torch.equal, before, model.state_dict().values()))


def test_a_mean_image_that_the_model_keeps_is_not_overwritten() -> None:
    model = tiny_vae().eval()
    kept = torch.full((500, 1, 4, 4), 0.25)
    model.mean_images = lambda latents, labels=None: kept[: len(latents)]  # type: ignore[method-assign]
    next(batches_of(model, 4))
    assert kept.eq(0.25).all()


@pytest.mark.parametrize("name", ["hierarchical", "vector_quantized"])
def test_other_models_give_samples(tmp_path: Path, name: str) -> None:
    model = (
        small_codes() if name == "vector_quantized" else instantiate(option("model", name), "model")
    )
    found = drawn(model, tmp_path, count=3)
    assert found["images"].shape == (3, *model.image_shape)
    assert found["latents"].shape == tuple(
        model.latent_means(torch.rand(3, *model.image_shape)).shape
    )


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        (tiny_vae, {"classes": [1]}, r"classes=\[1\]: this model is not conditional"),
        (conditional, {"classes": [0, 3]}, r"classes=\[0, 3\]: class 3 does not exist"),
        (lambda: tiny_vae(image_shape=(2, 4, 4)), {"format": "png"}, "format=png needs 1 or 3"),
    ],
)
def test_options_that_do_not_fit_the_model_are_refused(
    model: Callable[[], Model], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        SamplesMode(**(DEFAULTS | changes)).check(model(), tiny_data)


@pytest.mark.parametrize(
    "changes",
    [
        {"count": 0},
        {"components": 0},
        {"temperature": 0.0},
        {"temperature": float("inf")},
        {"block_size": 0},
        {"classes": []},
        {"count": 10_001, "format": "grid"},
    ],
)
def test_a_value_out_of_range_is_refused(changes: dict[str, Any]) -> None:
    (first, *_) = changes
    with pytest.raises(ValueError, match=f"^{first}="):
        SamplesMode(**(DEFAULTS | changes))


def test_columns_of_a_conditional_model_have_the_names_of_their_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Any] = []

    def record(groups: Any, columns: int, **labels: Any) -> Any:
        found.append((columns, labels["column_titles"]))
        return labelled_grid(groups, columns, **labels)

    monkeypatch.setattr(samples, "labelled_grid", record)
    for name, classes in (("a", None), ("b", [2, 0])):
        drawn(conditional(), tmp_path / name, count=16, classes=classes)
    # Those of `tiny_data`.
    assert found == [(3, ["dot", "line", "blob"]), (4, ["blob", "dot", "blob", "dot"])]
