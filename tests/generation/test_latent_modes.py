"""Reconstructions, interpolations, traversals and squares: as a user asks, and what is shown."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from conftest import CallCommand, Outcome
from vae_lightning import __version__, load
from vae_lightning.config import compose, instantiate, to_container
from vae_lightning.data import binarization
from vae_lightning.data.pixels import resize
from vae_lightning.data.sources import Digits
from vae_lightning.drawing.labelled_grid import film, labelled_grid
from vae_lightning.drawing.traversals import prior_quantiles, ranking
from vae_lightning.generation import interpolate, manifold, reconstruct, traverse
from vae_lightning.models import VAE
from vae_lightning.models.hierarchical import HierarchicalVAE

# Models of a few hundred weights; the digits at their own size.
SMALL = (
    "data=digits", "data.size=8", "model.latent_dim=3",
    "model.encoder.hidden=[8]", "model.decoder.hidden=[8]",
)  # fmt: skip
Generate = Callable[..., Outcome]


def untrained(file: Path, *overrides: str, scale: float = 4.0) -> Path:
    """A checkpoint of a model that has not been trained; its weights are enlarged, so that it
    tells images apart."""
    config = composed(*overrides)
    torch.manual_seed(0)
    model = instantiate(config["model"], "model")
    weights = {f"model.{name}": scale * value for name, value in model.state_dict().items()}
    torch.save(
        {
            "config": config,
            "state_dict": weights,
            "vae_lightning_version": __version__,
            "epoch": 0,
            "global_step": 0,
        },
        file,
    )
    return file


def composed(*overrides: str) -> dict[str, Any]:
    from omegaconf import OmegaConf

    config = compose("train", [*overrides, "paths.run_dir=unused"])
    OmegaConf.set_struct(config, False)
    return to_container(config)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """An untrained checkpoint by its overrides, written once."""
    folder = tmp_path_factory.mktemp("untrained")
    made: dict[tuple[str, ...], Path] = {}

    def checkpoint(*overrides: str) -> Path:
        if overrides not in made:
            made[overrides] = untrained(folder / f"{len(made)}.ckpt", *SMALL, *overrides)
        return made[overrides]

    return checkpoint


@pytest.fixture
def generate(call_command: CallCommand) -> Generate:
    """Runs the command in this process and in an empty folder; it writes to `made`."""

    def call(checkpoint: Path, *args: str, output: str = "made") -> Outcome:
        arguments = [f"ckpt_path={checkpoint}", f"output_dir={output}", "device=cpu", *args]
        return call_command(*arguments, command="generate")

    return call


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[Tensor]]:
    """The images of each sheet and each film, as they are handed over to be drawn."""
    seen: list[list[Tensor]] = []

    def grid_seen(blocks: Sequence[Tensor], *args: Any, **kwargs: Any) -> Image.Image:
        seen.append(list(blocks))
        return labelled_grid(blocks, *args, **kwargs)

    def film_seen(images: Tensor, *args: Any) -> None:
        seen.append([images])
        film(images, *args)

    for module in (interpolate, manifold, reconstruct, traverse):
        monkeypatch.setattr(module, "labelled_grid", grid_seen)
    monkeypatch.setattr(interpolate, "film", film_seen)
    return seen


def digits(count: int) -> tuple[Tensor, Tensor]:
    """The first test images, in [0, 1], and their labels."""
    images, labels = Digits().load(Path(), train=False)
    return images[:count].float() / 255, labels[:count]


def done(outcome: Outcome) -> dict[str, Any]:
    assert outcome.status == 0, outcome.err
    return json.loads(Path("made/generate.json").read_text())


def own_files(folder: Path, count: int, size: int = 8) -> Tensor:
    """PNG files of the first test images; returns them, uint8 (N, 1, size, size)."""
    folder.mkdir()
    images = resize(Digits().load(Path(), train=False)[0][:count], size)
    for place, image in enumerate(images):
        Image.fromarray(image[0].numpy()).save(folder / f"{place}.png")
    return images


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


# -- reconstruct ----------------------------------------------------------------------------------


def test_images_are_above_their_reconstructions_and_each_error_is_in_the_table(
    generate: Generate, checkpoints: Callable[..., Path], drawn: list[list[Tensor]]
) -> None:
    outcome = generate(checkpoints(), "mode=reconstruct", "mode.count=5", "mode.num_samples=200")
    facts = done(outcome)
    images, labels = digits(5)
    model = load(checkpoints())
    expected = model.reconstruct(images)
    (block,) = drawn[0]
    torch.testing.assert_close(block, torch.cat([images, expected]))

    rows = rows_of(Path("made/reconstructions.csv"))
    assert [row["image"] for row in rows] == [f"test {place}" for place in range(5)]
    assert [int(row["class"]) for row in rows] == labels.tolist()
    errors = (images - expected).square().mean((1, 2, 3))
    assert [float(row["mse"]) for row in rows] == pytest.approx(errors.tolist(), rel=1e-4)
    for row in rows:
        parts = -float(row["rate"]) - float(row["distortion"])
        assert float(row["elbo"]) == pytest.approx(parts, rel=1e-4)
    torch.manual_seed(0)
    elbo = model(images, 2000).elbo.mean(0)
    assert [float(row["elbo"]) for row in rows] == pytest.approx(elbo.tolist(), rel=0.05)
    assert facts["mse"] == pytest.approx(errors.mean().item(), rel=1e-4)
    assert f"{errors.mean():.4f}" in outcome.out
    assert "cross-entropy of grey pixels" in outcome.out


def test_a_seed_gives_the_same_files_again(
    generate: Generate, checkpoints: Callable[..., Path]
) -> None:
    for mode, quick in (("reconstruct", "num_samples=5"), ("interpolate", "seconds=0.1")):
        found = []
        for run in range(2):
            output = f"{mode}{run}"
            assert (
                generate(checkpoints(), f"mode={mode}", f"mode.{quick}", output=output).status == 0
            )
            files = sorted(path for path in Path(output).iterdir() if path.is_file())
            found.append([(path.name, path.read_bytes()) for path in files])
        assert found[0] == found[1]


def test_own_files_are_reconstructed_and_named(
    generate: Generate, checkpoints: Callable[..., Path], drawn: list[list[Tensor]], tmp_path: Path
) -> None:
    images = own_files(tmp_path / "own", 3)
    done(generate(checkpoints(), "mode=reconstruct", "mode.input=own"))
    torch.testing.assert_close(drawn[0][0][:3], images.float() / 255)
    rows = rows_of(Path("made/reconstructions.csv"))
    assert [row["image"] for row in rows] == ["0.png", "1.png", "2.png"]
    assert [row["class"] for row in rows] == ["", "", ""]


def test_own_files_of_another_size_are_scaled_where_that_is_asked_for(
    generate: Generate, checkpoints: Callable[..., Path], tmp_path: Path
) -> None:
    own_files(tmp_path / "own", 2, size=20)
    refused = generate(checkpoints(), "mode=reconstruct", "mode.input=own")
    assert refused.status == 1
    assert "0.png has 20 x 20 pixels" in refused.err
    assert "set mode.fit=true" in refused.err
    assert len(refused.err.splitlines()) == 1
    assert not Path("made").exists()
    done(generate(checkpoints(), "mode=reconstruct", "mode.input=own", "mode.fit=true"))


@pytest.mark.parametrize("binarize", ["threshold", "dynamic"])
def test_own_files_are_binarised_as_the_data_of_training_and_the_output_says_so(
    generate: Generate,
    checkpoints: Callable[..., Path],
    drawn: list[list[Tensor]],
    tmp_path: Path,
    binarize: str,
) -> None:
    images = own_files(tmp_path / "own", 3)
    outcome = generate(
        checkpoints(f"data.binarize={binarize}"), "mode=reconstruct", "mode.input=own"
    )
    assert done(outcome)["binarize"] == binarize
    assert f"data.binarize={binarize}" in outcome.out
    shown = drawn[0][0][:3]
    assert set(shown.unique().tolist()) == {0.0, 1.0}
    if binarize == "threshold":
        assert torch.equal(shown, binarization.threshold(images).float() / 255)


def test_a_conditional_model_is_told_the_classes_of_own_files(
    generate: Generate, checkpoints: Callable[..., Path], drawn: list[list[Tensor]], tmp_path: Path
) -> None:
    images = own_files(tmp_path / "own", 2).float() / 255
    conditional = checkpoints("model=conditional")
    chosen = ("mode=reconstruct", "mode.input=own", "mode.classes=[4,7]")
    done(generate(conditional, *chosen))
    expected = load(conditional).reconstruct(images, torch.tensor([4, 7]))
    torch.testing.assert_close(drawn[0][0][2:], expected)
    assert [row["class"] for row in rows_of(Path("made/reconstructions.csv"))] == ["4", "7"]


# -- interpolate ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_ways_between_images_begin_and_end_at_their_reconstructions(
    generate: Generate, checkpoints: Callable[..., Path], drawn: list[list[Tensor]], path: str
) -> None:
    chosen = ("mode.images=[3,8,2]", "mode.steps=5", f"mode.path={path}")
    done(generate(checkpoints(), "mode=interpolate", *chosen))
    images, model = digits(10)[0][[3, 8, 2]], load(checkpoints())
    expected = model.reconstruct(images)
    rows = drawn[0]
    assert len(rows) == 2
    for place, row in enumerate(rows):
        assert torch.equal(row[[0, -1]], images[place : place + 2])
        torch.testing.assert_close(row[[1, -2]], expected[place : place + 2])
    a, b = model.latent_means(images)[:2]
    middle = (a + b) / 2
    if path == "spherical":
        angle = torch.cosine_similarity(a, b, dim=0).acos()
        middle = middle / (angle / 2).cos()
    torch.testing.assert_close(rows[0][3], model.mean_images(middle[None])[0])


def test_the_film_visits_every_image_and_goes_back_to_the_first(
    generate: Generate, checkpoints: Callable[..., Path], drawn: list[list[Tensor]]
) -> None:
    chosen = ("mode.images=[3,8,2]", "mode.seconds=0.4")
    outcome = generate(checkpoints(), "mode=interpolate", *chosen)
    done(outcome)
    assert "wrote  made/interpolation.gif" in outcome.out
    expected = load(checkpoints()).reconstruct(digits(10)[0][[3, 8, 2]])
    (frames,) = drawn[1]
    assert len(frames) == 30
    torch.testing.assert_close(frames[[0, 10, 20]], expected)
    # No step is large, the one from the last frame to the first included.
    steps = (frames.roll(-1, 0) - frames).abs().mean((1, 2, 3))
    whole = (expected.roll(-1, 0) - expected).abs().mean((1, 2, 3))
    assert steps.max() < whole.max() / 2
    assert Image.open("made/interpolation.gif").info["loop"] == 0


def test_own_files_are_interpolated_in_the_order_given(
    generate: Generate, checkpoints: Callable[..., Path], drawn: list[list[Tensor]], tmp_path: Path
) -> None:
    images = own_files(tmp_path / "own", 3).float() / 255
    chosen = "mode.input=[own/2.png,own/0.png]"
    facts = done(generate(checkpoints(), "mode=interpolate", chosen))
    assert facts["between"] == ["own/2.png", "own/0.png"]
    assert torch.equal(drawn[0][0][[0, -1]], images[[2, 0]])


def test_between_classes_a_model_without_labels_goes_from_mean_to_mean(
    generate: Generate, checkpoints: Callable[..., Path], drawn: list[list[Tensor]]
) -> None:
    facts = done(generate(checkpoints(), "mode=interpolate", "mode.classes=[1,7]"))
    assert facts["between"] == ["class 1", "class 7"]
    model, (images, labels) = load(checkpoints()), digits(360)
    for end, number in ((0, 1), (-1, 7)):
        centre = model.latent_means(images[labels == number]).mean(0, keepdim=True)
        torch.testing.assert_close(drawn[0][0][[end]], model.mean_images(centre))


def test_class_means_of_a_sphere_are_on_the_sphere(
    generate: Generate, checkpoints: Callable[..., Path], drawn: list[list[Tensor]]
) -> None:
    checkpoint = checkpoints("model/posterior=von_mises_fisher", "model/prior=uniform_sphere")
    done(generate(checkpoint, "mode=interpolate", "mode.classes=[1,7]"))
    model, (images, labels) = load(checkpoint), digits(360)
    centre = model.latent_means(images[labels == 1]).mean(0, keepdim=True)
    expected = model.mean_images(centre / centre.norm())
    torch.testing.assert_close(drawn[0][0][[0]], expected)


@pytest.mark.parametrize("start", ["drawn", "place", "file"])
def test_between_classes_a_conditional_model_keeps_z_and_changes_the_label(
    generate: Generate,
    checkpoints: Callable[..., Path],
    drawn: list[list[Tensor]],
    tmp_path: Path,
    start: str,
) -> None:
    checkpoint = checkpoints("model=conditional")
    model, (images, labels) = load(checkpoint), digits(5)
    own_files(tmp_path / "own", 5)
    chosen = {"drawn": (), "place": ("mode.images=[4]",), "file": ("mode.input=own/4.png",)}[start]
    done(generate(checkpoint, "mode=interpolate", "mode.classes=[1,7]", "mode.steps=3", *chosen))
    if start == "drawn":
        torch.manual_seed(0)
        z = model.sample_latents(1)
    else:
        own = labels[4:5] if start == "place" else torch.tensor([1])
        z = model.latent_means(images[4:5], own)
    mixed = torch.zeros(3, 10)
    mixed[:, 1], mixed[:, 7] = torch.tensor([1.0, 0.5, 0.0]), torch.tensor([0.0, 0.5, 1.0])
    torch.testing.assert_close(drawn[0][0], model.mean_images(z.expand(3, -1), mixed))
    assert not torch.allclose(drawn[0][0][0], drawn[0][0][2])


def test_a_film_has_its_frames_and_their_times_at_a_visible_size(tmp_path: Path) -> None:
    images = torch.rand(4, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    film(images, tmp_path / "film.gif", [500, 40, 40, 80])
    with Image.open(tmp_path / "film.gif") as file:
        assert (file.n_frames, file.size, file.info["loop"]) == (4, (224, 224), 0)  # type: ignore[attr-defined]
        times = []
        for place in range(4):
            file.seek(place)
            times.append(file.info["duration"])
            shown = np.asarray(file.convert("RGB"))[::8, ::8] / 255
            # A GIF has 256 colours.
            assert np.abs(shown - images[place].permute(1, 2, 0).numpy()).mean() < 0.05
    assert times == [500, 40, 40, 80]


def test_a_sheet_shows_its_images_beside_their_names() -> None:
    images = torch.zeros(2, 1, 48, 48)
    images[1] = 1.0
    page = np.asarray(labelled_grid([images], 2, title="title", names=["a name"], heads=["0", "1"]))
    white = (page == 255).all(-1)
    # The second image is all white, the first all black, and nothing overlaps either.
    assert (page == 0).all(-1).sum() == 48 * 48
    rows, columns = np.nonzero((page == 0).all(-1))
    top, left = rows.min(), columns.min()
    assert white[top : top + 48, left + 50 : left + 98].all()
    assert not white[:, : left - 3].all()  # the name
    assert not white[: top - 3].all()  # the title and the heads
    assert page.shape[1] < left + 98 + 20


# -- traverse -------------------------------------------------------------------------------------


def known_rates(file: Path, source: Path) -> Path:
    """A copy of a checkpoint whose posterior is the same for all images: its rates are those of
    normals of variance 1 with the means 0.2, 1.5 and -0.7."""
    content = torch.load(source, weights_only=True)
    weights = content["state_dict"]
    weights["model.posterior.head.weight"].zero_()
    weights["model.posterior.head.bias"].zero_()
    weights["model.posterior.head.bias"][:3] = torch.tensor([0.2, 1.5, -0.7])
    torch.save(content, file)
    return file


@pytest.mark.parametrize("start", ["0", "centre"])
def test_dimensions_are_traversed_one_by_one_the_most_used_first(
    generate: Generate,
    checkpoints: Callable[..., Path],
    drawn: list[list[Tensor]],
    tmp_path: Path,
    start: str,
) -> None:
    checkpoint = known_rates(tmp_path / "known.ckpt", checkpoints())
    chosen = ("mode.count=3", "mode.max_dimensions=2", f"mode.start={start}", "mode.reach=2")
    outcome = generate(checkpoint, "mode=traverse", *chosen)
    facts = done(outcome)
    assert facts["dimensions"] == [1, 2]
    assert facts["rate"] == pytest.approx([1.5**2 / 2, 0.7**2 / 2], rel=1e-4)
    assert "the 2 most used of 3 dimensions" in outcome.out
    model = load(checkpoint)
    for row, moved in zip(drawn[0], [1, 2], strict=True):
        z = torch.tensor([[0.2, 1.5, -0.7]] if start == "0" else [[0.0, 0.0, 0.0]]).repeat(3, 1)
        z[:, moved] = torch.tensor([-2.0, 0.0, 2.0])
        torch.testing.assert_close(row, model.mean_images(z))


def test_the_aggregate_posterior_can_give_the_spread(
    generate: Generate, checkpoints: Callable[..., Path], drawn: list[list[Tensor]], tmp_path: Path
) -> None:
    checkpoint = known_rates(tmp_path / "known.ckpt", checkpoints())
    chosen = ("mode.spread=aggregate", "mode.start=centre", "mode.count=3")
    done(generate(checkpoint, "mode=traverse", *chosen))
    # 360 draws of normals with these means and variances of 1.
    expected = load(checkpoint).mean_images(torch.tensor([[0.2, 1.5, -0.7]]))
    assert (drawn[0][0][1] - expected[0]).abs().mean() < 0.1
    zero = load(checkpoint).mean_images(torch.zeros(1, 3))
    assert (drawn[0][0][1] - zero[0]).abs().mean() > 0.1


def test_a_rate_that_does_not_split_gives_way_to_the_variance_of_the_means(
    generate: Generate, checkpoints: Callable[..., Path]
) -> None:
    checkpoint = checkpoints("model/prior=mixture")
    outcome = generate(checkpoint, "mode=traverse")
    facts = done(outcome)
    variance = load(checkpoint).latent_means(digits(360)[0]).var(0, correction=0)
    assert facts["dimensions"] == variance.argsort(descending=True).tolist()
    assert facts["variance"] == pytest.approx(variance.sort(descending=True)[0].tolist(), rel=1e-3)
    assert "ordered by the variance" in outcome.out


def test_an_upper_layer_takes_the_lower_ones_along(
    generate: Generate, tmp_path: Path, drawn: list[list[Tensor]]
) -> None:
    layers = ("model=hierarchical", "model.latent_dims=[3,2]", "model.inner.hidden=[8]")
    small = [item for item in SMALL if "latent_dim" not in item]
    checkpoint = untrained(tmp_path / "layers.ckpt", *small, *layers)
    model = load(checkpoint)
    assert isinstance(model, HierarchicalVAE)
    facts = done(generate(checkpoint, "mode=traverse", "mode.count=4"))
    assert sorted(facts["dimensions"]) == [0, 1, 2, 3, 4]
    row = drawn[0][facts["dimensions"].index(4)]
    z = model.latent_means(digits(1)[0]).repeat(4, 1)
    z[:, 4] = torch.linspace(-3, 3, 4) * model.prior_distribution().stddev[1]
    z[:, :3] = model.conditionals[0](model.above[0](z[:, 3:])).mean
    # The prior's centre and width are estimated from its draws.
    torch.testing.assert_close(row, model.mean_images(z), atol=0.02, rtol=0)
    assert (row[0] - row[-1]).abs().max() > 0.1
    kept = model.follow(z, [1, 4])
    assert torch.equal(kept[:, [1, 3, 4]], z[:, [1, 3, 4]])


# -- manifold -------------------------------------------------------------------------------------


def test_the_square_is_at_the_quantiles_of_the_prior(
    generate: Generate, checkpoints: Callable[..., Path], drawn: list[list[Tensor]]
) -> None:
    checkpoint = checkpoints("model.latent_dim=2")
    facts = done(generate(checkpoint, "mode=manifold", "mode.count=3"))
    assert facts["dimensions"] == [0, 1]
    edge = 0.967422  # the quantile of a standard normal at 5/6
    z = [[right, up] for up in (edge, 0, -edge) for right in (-edge, 0, edge)]
    expected = load(checkpoint).mean_images(torch.tensor(z))
    torch.testing.assert_close(drawn[0][0], expected, atol=1e-5, rtol=1e-4)


def test_of_more_dimensions_the_two_most_used_are_shown_and_named(
    generate: Generate, checkpoints: Callable[..., Path], drawn: list[list[Tensor]], tmp_path: Path
) -> None:
    checkpoint = known_rates(tmp_path / "known.ckpt", checkpoints())
    outcome = generate(checkpoint, "mode=manifold", "mode.count=2")
    assert done(outcome)["dimensions"] == [1, 2]
    assert "the two most used, z1" in outcome.out
    assert "the others are at the prior's centre" in outcome.out
    edge = 0.6744898  # at 3/4
    z = torch.tensor([[0, right, up] for up in (edge, -edge) for right in (-edge, edge)])
    torch.testing.assert_close(drawn[0][0], load(checkpoint).mean_images(z), atol=1e-5, rtol=1e-4)


def test_a_conditional_square_is_of_one_class(
    generate: Generate, checkpoints: Callable[..., Path], drawn: list[list[Tensor]]
) -> None:
    checkpoint = checkpoints("model=conditional", "model.latent_dim=2")
    done(generate(checkpoint, "mode=manifold", "mode.count=3", "mode.label=4"))
    model = load(checkpoint)
    expected = model.mean_images(torch.zeros(1, 2), torch.tensor([4]))
    torch.testing.assert_close(drawn[0][0][[4]], expected)


def test_quantiles_of_a_prior_without_a_formula_are_those_of_its_draws(
    checkpoints: Callable[..., Path],
) -> None:
    model = load(checkpoints("model/prior=mixture"))
    torch.manual_seed(0)
    shares = torch.tensor([0.1, 0.5, 0.8])
    quantiles = prior_quantiles(model, [2, 0], shares)
    draws = model.sample_latents(20_000)[:, [2, 0]]
    for place in range(2):
        below = (draws[:, place, None] <= quantiles[place]).float().mean(0)
        torch.testing.assert_close(below, shares, atol=0.02, rtol=0)


def test_ranking_is_by_what_each_dimension_costs(checkpoints: Callable[..., Path]) -> None:
    model = load(checkpoints())
    assert isinstance(model, VAE)
    images = digits(50)[0]
    with torch.no_grad():
        base: Any = model.encode(images).base_dist  # type: ignore[attr-defined]
    rates = 0.5 * (base.loc**2 + base.scale**2 - 1) - base.scale.log()
    found = ranking(model, images, None)
    assert found.order == rates.mean(0).argsort(descending=True).tolist()
    assert found.figures == pytest.approx(rates.mean(0).sort(descending=True)[0].tolist(), rel=1e-4)


# -- what cannot be made --------------------------------------------------------------------------

CONDITIONAL = ("model=conditional",)
SPHERE = ("model/posterior=von_mises_fisher", "model/prior=uniform_sphere")


@pytest.mark.parametrize(
    ("model", "args", "said"),
    [
        ((), ["mode=interpolte"], "did you mean interpolate?"),
        ((), ["mode=reconstruct", "mode.count=0"], "mode.count=0 is out of range"),
        ((), ["mode=reconstruct", "mode.count=361"], "the test split has 360 images"),
        ((), ["mode=reconstruct", "mode.split=dev"], "mode.split=dev"),
        ((), ["mode=reconstruct", "mode.input=nowhere"], "nowhere does not exist"),
        ((), ["mode=reconstruct", "mode.input=empty"], "empty holds no image"),
        ((), ["mode=reconstruct", "mode.input=own", "mode.count=4"], "input has 3 images"),
        ((), ["mode=reconstruct", "mode.classes=[1]"], "mode.classes=[1]: the images of a split"),
        (
            (),
            ["mode=reconstruct", "mode.input=own", "mode.classes=[1]"],
            "mode.classes=[1]: this model knows no classes",
        ),
        (CONDITIONAL, ["mode=reconstruct", "mode.input=own"], "mode.classes is missing"),
        (
            CONDITIONAL,
            ["mode=reconstruct", "mode.input=own", "mode.classes=[1,2]"],
            "mode.classes=[1, 2] are 2 for 3 images",
        ),
        (
            CONDITIONAL,
            ["mode=reconstruct", "mode.input=own", "mode.classes=[12]"],
            "class 12 does not exist: they are 0 to 9",
        ),
        ((), ["mode=interpolate", "mode.images=[3]"], "mode.images=[3] leads nowhere"),
        (
            (),
            ["mode=interpolate", "mode.images=[3,360]"],
            "mode.images=[3, 360] is out of range: the test split has 360 images, at the places "
            "0 to 359",
        ),
        ((), ["mode=interpolate", "mode.images=[0,-1]"], "mode.images=[0, -1] is out of range"),
        ((), ["mode=interpolate", "mode.input=own/0.png"], "mode.input has one image"),
        (
            (),
            ["mode=interpolate", "mode.input=own", "mode.images=[0,1]"],
            "are two choices: make one",
        ),
        ((), ["mode=interpolate", "mode.classes=[3]"], "mode.classes=[3] leads nowhere"),
        ((), ["mode=interpolate", "mode.classes=[3,10]"], "class 10 does not exist"),
        (CONDITIONAL, ["mode=interpolate", "mode.classes=[3,10]"], "class 10 does not exist"),
        (
            (),
            ["mode=interpolate", "mode.classes=[3,4]", "mode.images=[0]"],
            "mode.classes=[3, 4]: this model knows no classes",
        ),
        ((), ["mode=interpolate", "mode.path=sperical"], "mode.path=sperical"),
        (SPHERE, ["mode=interpolate", "mode.path=linear"], "choose mode.path=spherical"),
        ((), ["mode=interpolate", "mode.steps=1"], "mode.steps=1 is out of range"),
        ((), ["mode=interpolate", "mode.seconds=0"], "mode.seconds=0 is out of range"),
        ((), ["mode=traverse", "mode.start=360"], "mode.start=360 is out of range"),
        ((), ["mode=traverse", "mode.start=own"], "mode.start=own has 3 images"),
        ((), ["mode=traverse", "mode.spread=posterior"], "mode.spread=posterior"),
        (CONDITIONAL, ["mode=traverse", "mode.start=centre"], "mode.label is missing"),
        ((), ["mode=traverse", "mode.start=centre", "mode.label=1"], "mode.label=1"),
        (SPHERE, ["mode=traverse"], "mode: this model's latents are on a sphere"),
        (SPHERE, ["mode=manifold"], "mode: this model's latents are on a sphere"),
        (
            (
                "model/posterior=relaxed_categorical",
                "model/prior=uniform_categorical",
                "model.latent_dim=20",
            ),
            ["mode=manifold"],
            "mode: this model's latents are categories",
        ),
        (CONDITIONAL, ["mode=manifold"], "mode.label is missing"),
        (("model.latent_dim=1",), ["mode=manifold"], "use mode=traverse"),
        ((), ["mode=manifold", "mode.count=1"], "mode.count=1 is out of range"),
        (("data.val_size=0",), ["mode=traverse", "mode.split=val"], "split=val holds no images"),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line_before_anything_is_written(
    generate: Generate,
    checkpoints: Callable[..., Path],
    tmp_path: Path,
    model: tuple[str, ...],
    args: list[str],
    said: str,
) -> None:
    own_files(tmp_path / "own", 3)
    (tmp_path / "empty").mkdir()
    outcome = generate(checkpoints(*model), *args)
    assert outcome.status == 1
    assert outcome.err.startswith("error: ")
    assert said in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not Path("made").exists()


def test_codes_have_no_dimensions_to_move_along(generate: Generate, tmp_path: Path) -> None:
    checkpoint = untrained(tmp_path / "codes.ckpt", "data=digits", "experiment=vq_vae", scale=1)
    outcome = generate(checkpoint, "mode=traverse")
    assert outcome.err == (
        "error: mode: this model's latents are codes, which have no dimensions to move along\n"
    )
