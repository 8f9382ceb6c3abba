"""Samples: streamed, seeded, of a class, from a mixture, and whole on disk or not there."""

import errno
import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets import ImageFolder

from option_grid import PAIRS, model_of, option
from tiny import options, small_codes, tiny_data, tiny_vae
from vae_lightning.cli.workspace import Workspace
from vae_lightning.config import instantiate
from vae_lightning.errors import ConfigError, DataError
from vae_lightning.generation import writers
from vae_lightning.generation.latent_mixture import NormalMixtureOfLatents, fit_mixture
from vae_lightning.generation.samples import Samples
from vae_lightning.generation.sampling import Block, as_bytes, sampled
from vae_lightning.models import Model
from vae_lightning.utils.random_state import fixed_noise

DEFAULTS: dict[str, Any] = {
    "count": 6,
    "format": "npz",
    "draw_from": "prior",
    "components": 2,
    "temperature": 1.0,
    "classes": None,
    "block_size": 500,
}


class FakeWorkspace(Workspace):
    """A model at work on the data of `tiny`."""

    def __init__(self, model: Model, folder: Path, seed: int = 0) -> None:
        self.model, self.folder, self.seed = model.eval(), folder, seed
        self.device = torch.device("cpu")

    def images(self, split: str) -> tuple[Tensor, Tensor]:
        data = tiny_data()
        data.setup("test")
        return data.evaluated(split)


def conditional() -> Model:
    """Of three classes."""
    node = option("model", "conditional") | {"num_classes": 3}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return instantiate(node, "model").eval()


def drawn(model: Model, folder: Path, seed: int = 0, **changes: Any) -> Any:
    """The arrays that the mode writes."""
    mode = Samples(**(DEFAULTS | changes))
    mode.check(model, tiny_data)
    folder.mkdir(exist_ok=True)
    with fixed_noise(seed, torch.device("cpu")):
        made = mode.make(FakeWorkspace(model, folder, seed))
    with np.load(made.files[0], allow_pickle=False) as content:
        return {**SimpleNamespace(**content).__dict__, "facts": made.facts}


def blocks_of(model: Model, count: int, block_size: int = 4) -> Any:
    with fixed_noise(0, torch.device("cpu")):
        yield from sampled(model, model.sample_latents, count, None, block_size)


def test_an_archive_holds_the_mean_images_of_its_latents(tmp_path: Path) -> None:
    model = tiny_vae().eval()
    found = drawn(model, tmp_path, count=1203)
    assert found["images"].shape == (1203, 1, 4, 4)
    assert found["images"].dtype == np.uint8
    assert found["latents"].shape == (1203, 2)
    assert "labels" not in found
    expected = model.mean_images(torch.from_numpy(found["latents"]))
    assert np.array_equal(found["images"], (expected * 255).round().to(torch.uint8).numpy())
    # They are of the prior, and no block is there twice.
    assert abs(found["latents"].mean()) < 0.1
    assert abs(found["latents"].std() - 1) < 0.1
    assert len(np.unique(found["latents"], axis=0)) == 1203


def test_images_depend_on_the_seed_alone_and_not_on_blocks_or_their_number(tmp_path: Path) -> None:
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


def test_a_conditional_model_draws_its_classes_in_turn_or_those_asked_for(tmp_path: Path) -> None:
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
    mode = Samples(**(DEFAULTS | {"count": 11, "format": "png"}))
    with fixed_noise(0, torch.device("cpu")):
        made = mode.make(FakeWorkspace(model, tmp_path))
    folder = made.files[0]
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
    mode = Samples(**(DEFAULTS | {"count": count, "format": "grid", "classes": classes}))
    made = mode.make(FakeWorkspace(model, tmp_path))
    assert [file.name for file in made.files] == ["samples.png"]
    width, _ = Image.open(made.files[0]).size
    assert width == columns * (48 + 2) + 2
    assert [file.name for file in tmp_path.iterdir()] == ["samples.png"]


def test_means_beyond_black_and_white_are_cut() -> None:
    images = torch.tensor([-0.3, 0.0, 0.1, 0.999, 1.0, 1.7])
    assert as_bytes(images).tolist() == [0, 0, 26, 255, 255, 255]


# A VampPrior of posteriors without a density is no model; see test_combinations.
MODELS = [pair for pair in PAIRS if pair != ("deterministic", "vamp")]


@pytest.mark.parametrize(("posterior", "prior"), MODELS)
def test_every_prior_and_space_gives_samples_of_every_likelihood(
    tmp_path: Path, posterior: str, prior: str
) -> None:
    torch.manual_seed(0)
    for likelihood in options("model/likelihood"):
        model = model_of(posterior, prior, likelihood).eval()
        expected = next(blocks_of(model, 3))
        mean = model.mean_images(expected.latents).clamp(0, 1) * 255
        assert (expected.images - mean).abs().max() < 0.51
        before = [parameter.clone() for parameter in model.parameters()]
        next(blocks_of(model, 3))
        assert all(map(torch.equal, before, model.parameters()))


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


# The mixture.


def test_a_mixture_is_drawn_from_as_its_weights_means_and_covariances_say() -> None:
    factors = torch.tensor([[[1.0, 0.0], [0.8, 0.6]], [[0.1, 0.0], [0.0, 2.0]]])
    mixture = NormalMixtureOfLatents(
        torch.tensor([0.25, 0.75]), torch.tensor([[-50.0, 0.0], [50.0, 7.0]]), factors
    )
    with fixed_noise(0, torch.device("cpu")):
        z = mixture.sample(40_000, 1.0)
    left, right = z[z[:, 0] < 0], z[z[:, 0] > 0]
    assert len(left) / len(z) == pytest.approx(0.25, abs=0.01)
    for part, mean, factor in ((left, [-50.0, 0.0], factors[0]), (right, [50.0, 7.0], factors[1])):
        torch.testing.assert_close(part.mean(0), torch.tensor(mean), atol=0.05, rtol=0)
        torch.testing.assert_close(part.T.cov(), factor @ factor.T, atol=0.1, rtol=0)
    with fixed_noise(0, torch.device("cpu")):
        cold = mixture.sample(40_000, 0.1)
    centre = mixture.means[(cold[:, 0] > 0).long()]
    torch.testing.assert_close(cold - centre, 0.1 * (z - centre), atol=1e-4, rtol=0)


def test_the_mixture_has_the_moments_of_the_aggregate_posterior(tmp_path: Path) -> None:
    model = tiny_vae().eval()
    images = torch.randint(0, 256, (4000, 1, 4, 4), dtype=torch.uint8)
    with fixed_noise(0, torch.device("cpu")):
        mixture, facts = fit_mixture(model, images, torch.zeros(4000).long(), 3, seed=0)
        z = mixture.sample(4000, 1.0)
    posterior = model.encode(images.float() / 255)
    torch.testing.assert_close(z.mean(0), posterior.mean.mean(0), atol=0.1, rtol=0)
    spread = posterior.variance.mean(0) + posterior.mean.var(0)
    torch.testing.assert_close(z.var(0), spread, atol=0.1, rtol=0)
    assert (facts["images"], facts["of"], facts["converged"]) == (4000, 4000, True)


def test_a_mixture_is_fitted_to_no_more_images_than_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vae_lightning.generation.latent_mixture._FITTED_TO", 12)
    found = drawn(tiny_vae().eval(), tmp_path / "a", draw_from="mixture")
    assert found["facts"]["mixture"]["images"] == 12
    assert found["facts"]["mixture"]["of"] == 18
    again = drawn(tiny_vae().eval(), tmp_path / "b", draw_from="mixture")
    assert np.array_equal(found["images"], again["images"])
    with pytest.raises(ConfigError, match="components=19 are too many: there are 18"):
        drawn(tiny_vae().eval(), tmp_path / "c", draw_from="mixture", components=19)


@pytest.mark.parametrize("name", ["hierarchical", "conditional"])
def test_a_mixture_is_of_all_layers_and_classes(tmp_path: Path, name: str) -> None:
    node = option("model", name) | {"num_classes": 3 if name == "conditional" else None}
    model = instantiate(node, "model").eval()
    found = drawn(model, tmp_path, draw_from="mixture", count=5)
    assert found["latents"].shape[1] == model.sample_latents(1).shape[1]
    assert np.isfinite(found["latents"]).all()


# What is refused.


@pytest.mark.parametrize(
    ("posterior", "prior", "found"),
    [
        ("von_mises_fisher", "uniform_sphere", "are on the sphere"),
        ("relaxed_categorical", "uniform_categorical", "are on the simplex"),
    ],
)
def test_normals_are_fitted_to_no_other_space_than_the_plane(
    posterior: str, prior: str, found: str
) -> None:
    model = model_of(posterior, prior, "bernoulli")
    with pytest.raises(ValueError, match=f"draw_from=mixture .* {found}: leave"):
        Samples(**(DEFAULTS | {"draw_from": "mixture"})).check(model, tiny_data)


def test_normals_are_not_fitted_to_codes() -> None:
    with pytest.raises(ValueError, match=r"draw_from=mixture .* are codes"):
        Samples(**(DEFAULTS | {"draw_from": "mixture"})).check(small_codes(), tiny_data)


@pytest.mark.parametrize(
    ("model", "changes", "said"),
    [
        (tiny_vae, {"classes": [1]}, r"classes=\[1\]: this model knows no classes"),
        (conditional, {"classes": [0, 3]}, r"classes=\[0, 3\]: class 3 does not exist"),
        (lambda: tiny_vae(image_shape=(2, 4, 4)), {"format": "png"}, "format=png is for 1 or 3"),
    ],
)
def test_what_a_model_cannot_make_is_refused(
    model: Callable[[], Model], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Samples(**(DEFAULTS | changes)).check(model(), tiny_data)


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
        Samples(**(DEFAULTS | changes))


# On disk.


@pytest.mark.parametrize("format_", ["npz", "png"])
def test_what_is_interrupted_leaves_nothing(tmp_path: Path, format_: str) -> None:
    writer = writers.npz if format_ == "npz" else writers.png_folder
    first, second = blocks_of(tiny_vae().eval(), 8)

    def interrupted() -> None:
        with writer(tmp_path / "samples", 8, first) as write, writers.in_a_thread(write) as later:
            later(first)
            later(second)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


class FullDisk(io.BytesIO):
    """Takes some bytes and no more."""

    def write(self, data: Any) -> int:
        if self.tell() + memoryview(data).nbytes > 300:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def test_a_disk_that_is_full_is_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_file = zipfile.ZipFile

    def on_a_full_disk(path: Path, *args: Any) -> zipfile.ZipFile:
        path.touch()
        return whole_file(FullDisk(), *args)

    monkeypatch.setattr(zipfile, "ZipFile", on_a_full_disk)
    blocks = list(blocks_of(tiny_vae().eval(), 40))

    def fill() -> None:
        with (
            writers.npz(tmp_path / "samples.npz", 40, blocks[0]) as write,
            writers.in_a_thread(write) as write_later,
        ):
            for block in blocks:
                write_later(block)

    with pytest.raises(OSError, match="No space left") as error:
        fill()
    assert error.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_too_little_room_is_found_before_any_image_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each has 16 bytes of image, and twice 8 of latents.
    room = 1000 * (16 + 2 * 8)
    first = next(blocks_of(tiny_vae().eval(), 4))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=room))
    with (
        pytest.raises(DataError, match="no room for 1,001 images"),
        writers.npz(tmp_path / "samples.npz", 1001, first),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt), writers.npz(tmp_path / "samples.npz", 1000, first):
        raise KeyboardInterrupt


def test_an_error_in_the_thread_comes_up_and_few_blocks_wait() -> None:
    made: list[int] = []
    written: list[int] = []
    block = next(blocks_of(tiny_vae().eval(), 4))

    def write(_: Block) -> None:
        written.append(len(made))
        if len(written) == 3:
            raise OSError(errno.EIO, "broken")

    def run() -> None:
        with writers.in_a_thread(write) as write_later:
            for number in range(50):
                made.append(number)
                write_later(block)

    with pytest.raises(OSError, match="broken"):
        run()
    assert len(made) < 20
