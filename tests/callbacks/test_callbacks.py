"""Pictures, their files and TensorBoard's pages; and that looking at a model does not change it."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Callback
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from torch import Tensor
from torch.distributions import Distribution, Independent, StudentT

from tiny import (
    SIZE,
    TinySource,
    composed_model,
    head,
    tiny_data,
    tiny_module,
    tiny_trainer,
    tiny_vae,
)
from vae_lightning.callbacks import Pictures, TensorBoardPages, plots
from vae_lightning.callbacks import drawings as drawings_module
from vae_lightning.callbacks.drawings import Manifold, Reconstructions, Samples, Traversals
from vae_lightning.callbacks.pictures import Drawing, DrawingContext, History
from vae_lightning.callbacks.plots import Curves, LatentScatter, RatePerDimension
from vae_lightning.callbacks.tensorboard import TensorBoardLogger
from vae_lightning.config import compose, instantiate, to_container
from vae_lightning.data import ImageDataModule
from vae_lightning.distributions.posteriors.posterior import Posterior
from vae_lightning.drawing.figures import to_image
from vae_lightning.drawing.grids import grid
from vae_lightning.drawing.labelled_grid import labelled_grid
from vae_lightning.models import VAE
from vae_lightning.objectives.objective import TERMS
from vae_lightning.training.module import VAEModule

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*have no `val_dataloader`.*",
    "ignore:The number of training batches",
    "ignore:Total length of `list` across ranks is zero",
    "ignore:Found .* in eval mode at the start of training",
)

DRAWINGS: dict[str, Any] = to_container(compose("train").callbacks.pictures.drawings)
# Drawings that have nothing to show for a model of some latent sizes; all others always do.
ONLY_FOR = {"manifold": [2], "traversals": [5]}
HISTORY: History = {
    f"{stage}/{name}": [(1, 12.0 + shift), (2, 11.0 + shift)]
    for stage, shift in (("train", 0.0), ("val", 0.5))
    for name in TERMS
}
# Matplotlib's first three colours.
BLUE, ORANGE, GREEN = (31, 119, 180), (255, 127, 14), (44, 160, 44)

# Images of four pixels across are enlarged twelve times and set out with two pixels between.
CELL, STRIDE = 48, 50


def read_data(**options: Any) -> ImageDataModule:
    data = tiny_data(**options)
    data.setup("fit")
    return data


def context_of(
    model: VAE, split: str = "val", history: History | None = None, **options: Any
) -> DrawingContext:
    return DrawingContext(model.eval(), read_data(**options), split, history or HISTORY)


def draw(drawing: Drawing, context: DrawingContext) -> Tensor:
    with torch.no_grad():
        picture = drawing.draw(context)
    assert picture is not None
    return picture


def starts(picture: Tensor) -> tuple[list[int], list[int]]:
    """The first pixels of the rows and columns of images; after the last, of the margin."""
    lines = (picture == 96).all(0)  # between the images
    down, right = lines.sum(1), lines.sum(0)
    found = []
    for line in ((down == down.max()).tolist(), (right == right.max()).tolist()):
        found.append([i + 1 for i in range(len(line) - 1) if line[i] and not line[i + 1]])
    return found[0], found[1]


def cell(picture: Tensor, row: int, column: int) -> Tensor:
    """An image of a grid at its own size, uint8 (4, 4)."""
    tops, lefts = starts(picture)
    top, left = tops[row], lefts[column]
    enlarged = picture[:, top : top + CELL, left : left + CELL]
    assert (enlarged == enlarged[0]).all()
    small = enlarged[0, :: CELL // SIZE, :: CELL // SIZE]
    assert torch.equal(small.repeat_interleave(12, 0).repeat_interleave(12, 1), enlarged[0])
    return small


def grid_size(picture: Tensor) -> tuple[int, int]:
    """Rows and columns."""
    rows, columns = starts(picture)
    return len(rows) - 1, len(columns) - 1


def bytes_of(images: Tensor) -> Tensor:
    """What a picture should hold of images in [0, 1]: white is 255, no less and no more."""
    return (images * 255).round().to(torch.uint8)


def one_pixel_per_dimension(latent_dim: int) -> VAE:
    """A model of which dimension j of z makes pixel j alone brighter."""
    model = tiny_vae(latent_dim, hidden=[])
    with torch.no_grad():
        head(model.likelihood).weight.zero_()
        head(model.likelihood).bias.zero_()
        for dimension in range(latent_dim):
            head(model.likelihood).weight[dimension, dimension] = 1.0
    return model


# -- grids ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0, 0), (0.5, 128), (1.0, 255), (-0.2, 0), (1.7, 255)]
)
def test_grid_shows_black_as_black_and_white_as_white(value: float, expected: int) -> None:
    picture = grid(torch.full((1, 1, 48, 48), value), columns=1)
    assert picture.dtype == torch.uint8
    assert picture.shape[0] == 3
    assert picture[:, 24, 24].tolist() == [expected] * 3


def test_grid_sets_images_out_row_by_row() -> None:
    images = torch.rand(5, 1, SIZE, SIZE)
    picture = grid(images, columns=3)
    assert picture.shape == (3, 2 * STRIDE + 2, 3 * STRIDE + 2)
    for place in range(5):
        assert torch.equal(cell(picture, place // 3, place % 3), bytes_of(images[place, 0]))


def test_grid_keeps_colours() -> None:
    images = torch.tensor([1.0, 0.0, 0.2]).reshape(1, 3, 1, 1).expand(2, 3, 48, 48)
    assert grid(images, columns=2)[:, 30, 30].tolist() == [255, 0, 51]


# -- each drawing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("latent_dim", [2, 5])
@pytest.mark.parametrize("name", DRAWINGS)
def test_drawing_is_a_picture_or_nothing_as_it_promises(name: str, latent_dim: int) -> None:
    drawing: Drawing = instantiate(DRAWINGS[name], name)
    with torch.no_grad():
        picture = drawing.draw(context_of(tiny_vae(latent_dim)))
    if latent_dim not in ONLY_FOR.get(name, [2, 5]):
        assert picture is None
        return
    assert picture is not None
    assert picture.dtype == torch.uint8
    assert picture.device.type == "cpu"
    channels, height, width = picture.shape
    assert channels == 3
    assert min(height, width) > 40
    assert picture.min() < picture.max()


def test_reconstructions_are_beneath_their_originals() -> None:
    model = tiny_vae()
    shown = context_of(model)
    picture = draw(Reconstructions(1, rows=2, columns=3), shown)
    originals, _ = shown.data.images("val", 6)
    reconstructed = model.reconstruct(originals)
    assert grid_size(picture) == (4, 3)
    for place in range(6):
        row, column = 2 * (place // 3), place % 3
        assert torch.equal(cell(picture, row, column), bytes_of(originals[place, 0]))
        assert torch.equal(cell(picture, row + 1, column), bytes_of(reconstructed[place, 0]))


def test_reconstructions_are_beneath_their_originals_where_images_do_not_fill_the_rows() -> None:
    model = tiny_vae()
    shown = context_of(model, val_size=5)
    picture = draw(Reconstructions(1, rows=4, columns=3), shown)
    originals, _ = shown.data.images("val", 5)
    reconstructed = model.reconstruct(originals)
    assert grid_size(picture)[0] % 2 == 0
    # Whether the short row is shown or left out.
    for place in range(3 * (grid_size(picture)[0] // 2)):
        if place < 5:
            row, column = 2 * (place // 3), place % 3
            assert torch.equal(cell(picture, row, column), bytes_of(originals[place, 0]))
            assert torch.equal(cell(picture, row + 1, column), bytes_of(reconstructed[place, 0]))


def test_reconstructions_of_few_images_are_beneath_their_originals() -> None:
    model = tiny_vae()
    shown = context_of(model, val_size=2)
    picture = draw(Reconstructions(1, rows=4, columns=8), shown)
    originals, _ = shown.data.images("val", 2)
    assert grid_size(picture)[0] == 2
    for place in range(2):
        assert torch.equal(cell(picture, 0, place), bytes_of(originals[place, 0]))
        assert torch.equal(
            cell(picture, 1, place), bytes_of(model.reconstruct(originals)[place, 0])
        )


def test_manifold_has_the_first_dimension_to_the_right_and_the_second_upwards() -> None:
    picture = draw(Manifold(1, count=5), context_of(one_pixel_per_dimension(2)))
    assert grid_size(picture) == (5, 5)
    # The quantiles of a standard normal at 0.1, 0.3, ... 0.9.
    quantiles = torch.tensor([-1.2816, -0.5244, 0.0, 0.5244, 1.2816])
    expected = bytes_of(quantiles.sigmoid()).tolist()
    for row in range(5):
        for column in range(5):
            first, second = cell(picture, row, column)[0, :2].tolist()
            assert (first, second) == (expected[column], expected[4 - row])


def test_traversals_move_one_dimension_each_the_most_used_first() -> None:
    model = one_pixel_per_dimension(4)
    with torch.no_grad():
        head(model.posterior).weight.zero_()
        head(model.posterior).bias.zero_()
        head(model.posterior).bias[:4] = torch.tensor([0.2, 0.0, 1.5, -0.7])
    picture = draw(Traversals(1, count=3, max_dimensions=3), context_of(model))
    assert grid_size(picture) == (3, 3)
    for row, moved in enumerate([2, 3, 0]):
        for column, value in enumerate([-3.0, 0.0, 3.0]):
            z = torch.tensor([0.2, 0.0, 1.5, -0.7])
            z[moved] = value
            assert torch.equal(cell(picture, row, column)[0], bytes_of(z.sigmoid()))


def test_samples_are_mean_images_of_the_prior_in_rows_of_eight() -> None:
    model = tiny_vae()
    torch.manual_seed(5)
    picture = draw(Samples(1, count=12, animated=False), context_of(model))
    torch.manual_seed(5)
    expected = model.decode(torch.randn(12, 2)).mean
    assert grid_size(picture) == (2, 8)
    for place in range(12):
        assert torch.equal(cell(picture, place // 8, place % 8), bytes_of(expected[place, 0]))


class HeavyTailed(Posterior):
    """A posterior of which torch has no divergence to a normal prior."""

    space = "euclidean"

    def forward(self, features: Tensor) -> Distribution:
        return Independent(StudentT(5.0, features[:, :5]), 1)


@pytest.mark.parametrize("drawing", [RatePerDimension(1, 5), Traversals(1, 3, 3)])
def test_what_needs_a_rate_per_dimension_draws_nothing_without_one(drawing: Drawing) -> None:
    model = tiny_vae(5)
    model.posterior = HeavyTailed()
    assert drawing.draw(context_of(model)) is None


def where(picture: Tensor, colour: tuple[int, int, int]) -> Tensor:
    """Which pixels have a colour, bool (H, W)."""
    return (picture == torch.tensor(colour, dtype=torch.uint8)[:, None, None]).all(0)


def test_rate_per_dimension_has_a_bar_for_each_the_highest_first() -> None:
    model = tiny_vae(4)
    with torch.no_grad():
        head(model.posterior).weight.zero_()
        head(model.posterior).bias.zero_()
        # Variances of 1: the rates are half the squares of the means.
        head(model.posterior).bias[:4] = torch.tensor([-1.0, 2.0, 0.5, 1.5])
    picture = draw(RatePerDimension(1, count=5), context_of(model))
    columns = where(picture, BLUE).sum(0).tolist()
    bars = [max(group) for blank, group in groupby(columns, key=lambda n: n == 0) if not blank]
    expected = [4.0, 2.25, 1.0, 0.25]
    # Edges are blended with what is behind them: a pixel or two of 200.
    assert [4 * bar / bars[0] for bar in bars] == pytest.approx(expected, abs=0.06)


def test_rates_of_several_layers_are_told_apart_by_colour() -> None:
    narrow = [f"model.{part}.hidden=[4]" for part in ("encoder", "inner", "decoder")]
    model: Any = composed_model(
        "model=hierarchical", "model.latent_dims=[3,2]", f"data.size={SIZE}", *narrow
    )
    with torch.no_grad():
        for part in (*model.posteriors, *model.conditionals):
            head(part).weight.zero_()
            head(part).bias.zero_()
        # Variances of 1 around these means, where the prior has 0: rates of 2 and of one half.
        head(model.posteriors[0]).bias[:3] = 2.0
        head(model.posteriors[1]).bias[:2] = 1.0
    picture = draw(RatePerDimension(1, count=5), context_of(model))
    # From the axis up: the legend has the colours too.
    bottom = int(where(picture, BLUE).nonzero()[:, 0].max())
    heights = [
        max(
            next((n for n, is_bar in enumerate(column) if not is_bar), 0)
            for column in where(picture, colour)[: bottom + 1].flip(0).T.tolist()
        )
        for colour in (BLUE, ORANGE, GREEN)
    ]
    assert heights[0] / heights[1] == pytest.approx(4, rel=0.05)
    assert heights[2] == 0
    first, second = (where(picture, colour).any(0).nonzero().min() for colour in (BLUE, ORANGE))
    assert first < second


def test_latent_scatter_has_each_class_in_a_colour_of_its_own() -> None:
    picture = draw(LatentScatter(1, count=100), context_of(tiny_vae(), val_size=20))
    for colour in (BLUE, ORANGE, GREEN):
        assert where(picture, colour).any()


def test_latent_scatter_shows_as_many_images_as_were_asked_for() -> None:
    model = tiny_vae()
    with torch.no_grad():
        head(model.posterior).weight.zero_()
        head(model.posterior).bias[:2] = torch.tensor([2.0, -1.0])
    shown = context_of(model)
    picture = draw(LatentScatter(1, count=1), shown)
    colour = (BLUE, ORANGE, GREEN)[int(shown.data.images("val", 1)[1])]
    points = where(picture[:, :, :500], colour).nonzero().double()  # the legend is further right
    # The axes run from -3 to 3, with the zero in the middle of the spines' square.
    up, right = points.mean(0).tolist()
    left, bottom, width, height = 0.08 * 650, 0.1 * 500, 0.77 * 650, 0.84 * 500
    side = min(width, height)
    middle_right, middle_up = left + width / 2, 500 - (bottom + height / 2)
    assert (right - middle_right) / (side / 6) == pytest.approx(2.0, abs=0.03)
    assert (middle_up - up) / (side / 6) == pytest.approx(-1.0, abs=0.03)


def test_latent_scatter_of_more_dimensions_shows_the_principal_components() -> None:
    model = tiny_vae(5, hidden=[])
    with torch.no_grad():
        head(model.posterior).weight.zero_()
        head(model.posterior).bias.zero_()
        # Dimension 3 moves twice as far as dimension 1, and with another pixel.
        head(model.posterior).weight[3, 0] = 4.0
        head(model.posterior).weight[1, 1] = 2.0
    shown = context_of(model, val_size=20)
    means = model.latent_means(*shown.data.images("val", 20))
    points, explained = plots._principal_components(means)
    assert torch.corrcoef(torch.stack([points[:, 0], means[:, 3].double()]))[0, 1].abs() > 0.95
    assert explained[0] > 0.5
    assert sum(explained) == pytest.approx(1)
    picture = draw(LatentScatter(1, count=20), shown)
    for colour in (BLUE, ORANGE, GREEN):
        assert where(picture, colour).any()


@pytest.mark.filterwarnings("error")
def test_latent_scatter_of_a_collapsed_posterior_is_drawn() -> None:
    model = tiny_vae(5)
    with torch.no_grad():
        head(model.posterior).weight.zero_()
    draw(LatentScatter(1, count=20), context_of(model))
    assert LatentScatter(1, count=1).draw(context_of(model)) is None


# -- labels ---------------------------------------------------------------------------------------


@pytest.fixture
def labels(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The labels of the last grid."""
    found: dict[str, Any] = {}

    def record(groups: Sequence[Tensor], columns: int, **labels: Any) -> Any:
        found.clear()
        found.update(labels)
        return labelled_grid(groups, columns, **labels)

    monkeypatch.setattr(drawings_module, "labelled_grid", record)
    return found


def test_rows_of_reconstructions_are_named(labels: dict[str, Any]) -> None:
    draw(Reconstructions(1, rows=2, columns=3), context_of(tiny_vae()))
    assert labels["group_titles"] == ["input", "reconstruction"] * 2
    assert labels["title"] == "val images and their reconstructions"


def test_rows_of_traversals_have_their_dimension_and_rate_and_the_columns_their_value(
    labels: dict[str, Any],
) -> None:
    model = tiny_vae(4)
    with torch.no_grad():
        head(model.posterior).weight.zero_()
        head(model.posterior).bias.zero_()
        # Variances of 1: the rates are half the squares of the means.
        head(model.posterior).bias[:4] = torch.tensor([-1.0, 2.0, 0.5, 0.0])
    draw(Traversals(1, count=5, max_dimensions=2), context_of(model))
    assert labels["group_titles"] == ["z1   2.00 nats", "z0   0.50 nats"]
    assert labels["column_titles"] == ["-3.0", "-1.5", "0", "+1.5", "+3.0"]
    assert labels["title"] == (
        "one dimension of z varied around val image 0; 2 of 4 dimensions, 2.50 of 2.62 nats"
    )


def test_the_axes_of_a_manifold_are_named(labels: dict[str, Any]) -> None:
    draw(Manifold(1, count=5), context_of(tiny_vae()))
    assert labels["title"] == "to the right z0, -1.28 to +1.28;   upwards z1, -1.28 to +1.28"


def test_samples_of_a_conditional_model_have_the_class_above_each_column(
    labels: dict[str, Any],
) -> None:
    small = [f"model.{part}.hidden=[4]" for part in ("encoder", "decoder")]
    model = composed_model("model=conditional", "data=digits", f"data.size={SIZE}", *small)
    assert model.num_classes == 10
    data = read_data()
    data.source.class_names = tuple(f"the class {n}" for n in range(10))
    with torch.no_grad():
        picture = Samples(1, count=20, animated=False).draw(
            DrawingContext(model.eval(), data, "val", {})
        )
    assert labels["column_titles"] == data.class_names
    assert grid_size(picture) == (2, 10)
    draw(Samples(1, count=8, animated=False), context_of(tiny_vae()))
    assert "column_titles" not in labels


@pytest.mark.parametrize("latent_dim", [1, 2, 5, 60])
@pytest.mark.parametrize("classes", [("dot", "line", "blob"), tuple("x" * 20 + c for c in "abc")])
def test_no_text_of_a_plot_is_cut(
    latent_dim: int, classes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Any] = []

    def record(figure: Any) -> Tensor:
        figures.append(figure)
        return to_image(figure)

    monkeypatch.setattr(plots, "to_image", record)
    model = tiny_vae(latent_dim)
    with torch.no_grad():
        head(model.posterior).bias.fill_(2.0)
    shown = context_of(model, val_size=20)
    shown.data.source.class_names = classes
    many = shown.data.images("val", 20)
    # As many images as a real run draws.
    monkeypatch.setattr(
        DrawingContext, "images", lambda self, n: tuple(x[:1].expand(n, *x.shape[1:]) for x in many)
    )
    for drawing in (Curves(1), RatePerDimension(1, 5000), LatentScatter(1, 10_000)):
        with torch.no_grad():
            drawing.draw(shown)
    assert len(figures) == (2 if latent_dim == 1 else 3)
    for figure in figures:
        for axes in figure.axes:
            inside = [axes.title, axes.xaxis.label, axes.yaxis.label]
            inside += axes.get_legend().get_texts() if axes.get_legend() else []
            for text in inside:
                box = text.get_window_extent()
                place = (text.get_text(), box, figure.bbox)
                assert box.x0 >= 0, place
                assert box.y0 >= 0, place
                assert box.x1 <= figure.bbox.x1, place
                assert box.y1 <= figure.bbox.y1, place


def test_curves_show_training_and_validation_in_each_chart() -> None:
    picture = draw(Curves(1), context_of(tiny_vae()))
    for chart in picture.chunk(3, dim=-1):
        assert where(chart, BLUE).sum() > 50
        assert where(chart, ORANGE).sum() > 50


def test_curves_follow_the_history_and_are_not_drawn_for_the_test() -> None:
    model = tiny_vae()
    first = draw(Curves(1), context_of(model))
    points = [*HISTORY["val/rate"], (3, 9.0)]
    assert not torch.equal(
        first, draw(Curves(1), context_of(model, history=HISTORY | {"val/rate": points}))
    )
    assert Curves(1).draw(context_of(model, split="test")) is None


@pytest.mark.parametrize(
    "make",
    [
        partial(Curves, 0),
        partial(Samples, 1, 0, False),
        partial(Reconstructions, 1, 0, 8),
        partial(Reconstructions, 1, 4, 0),
        partial(Manifold, 1, 1),
        partial(Traversals, 1, 1, 5),
        partial(Traversals, 1, 5, 0),
        partial(RatePerDimension, 1, 0),
        partial(LatentScatter, 1, 0),
        partial(TensorBoardPages, 0),
        partial(Pictures, "pictures", {}, 1),
    ],
)
def test_drawings_of_nothing_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="is out of range"):
        make()


# -- when and where they are drawn ----------------------------------------------------------------


class Spy(Drawing):
    """Notes what it was shown, uses noise as a drawing may, and draws a grey square."""

    def __init__(self, every_n_epochs: int = 1) -> None:
        super().__init__(every_n_epochs)
        self.training: list[bool] = []
        self.gradients: list[bool] = []
        self.splits: list[str] = []
        self.noise: list[Tensor] = []

    def draw(self, context: DrawingContext) -> Tensor:
        self.training.append(any(part.training for part in context.model.modules()))
        self.gradients.append(torch.is_grad_enabled())
        self.splits.append(context.split)
        self.noise.append(torch.rand(3))
        return torch.full((3, 5, 7), 99, dtype=torch.uint8)


def fit(
    folder: Path,
    drawings: dict[str, Drawing],
    *callbacks: Callback,
    module: VAEModule | None = None,
    data: ImageDataModule | None = None,
    max_files: int = 100,
    **options: Any,
) -> Pictures:
    pictures = Pictures(str(folder / "pictures"), drawings, max_files)
    trainer = tiny_trainer(folder, pictures, *callbacks, **options)
    trainer.fit(module or tiny_module(), datamodule=data or tiny_data())
    return pictures


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def read_png(path: Path) -> Tensor:
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)


def test_pictures_are_files_by_name_and_epoch(tmp_path: Path) -> None:
    fit(tmp_path, {"grey": Spy(), "samples": Samples(1, 3, animated=False)}, max_epochs=2)
    assert files(tmp_path / "pictures") == [
        "grey/epoch_001.png",
        "grey/epoch_002.png",
        "samples/epoch_001.png",
        "samples/epoch_002.png",
    ]
    grey = read_png(tmp_path / "pictures/grey/epoch_001.png")
    assert grey.shape == (3, 5, 7)
    assert (grey == 99).all()


def test_what_draws_nothing_leaves_no_file(tmp_path: Path) -> None:
    fit(tmp_path, {"grey": Spy(), "traversals": Traversals(1, 3, 3)})
    assert files(tmp_path / "pictures") == ["grey/epoch_001.png"]


def test_drawings_are_made_every_few_epochs_and_at_the_last(tmp_path: Path) -> None:
    fit(tmp_path, {"each": Spy(1), "second": Spy(2), "rare": Spy(100)}, max_epochs=5)
    epochs = {name: files(tmp_path / "pictures" / name) for name in ("each", "second", "rare")}
    assert epochs == {
        "each": [f"epoch_00{n}.png" for n in range(1, 6)],
        "second": ["epoch_002.png", "epoch_004.png", "epoch_005.png"],
        "rare": ["epoch_005.png"],
    }


def test_a_long_run_keeps_the_first_the_last_and_evenly_spaced_pictures(tmp_path: Path) -> None:
    fit(tmp_path, {"grey": Spy(), "second": Spy(2)}, max_files=5, max_epochs=14)
    kept = [int(name[6:9]) for name in files(tmp_path / "pictures/grey")]
    assert len(kept) == 5
    assert (kept[0], kept[-1]) == (1, 14)
    gaps = [after - before for before, after in pairwise(kept)]
    assert max(gaps) <= 2 * min(gaps) + 1
    # Seven were drawn.
    assert len(files(tmp_path / "pictures/second")) == 5


class StopAfter(Callback):
    """Ends a run early, as early stopping does."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        trainer.should_stop = trainer.current_epoch + 1 == self.epochs


def test_last_epoch_is_drawn_where_a_run_is_stopped_early(tmp_path: Path) -> None:
    fit(tmp_path, {"rare": Spy(100)}, StopAfter(3), max_epochs=10)
    assert files(tmp_path / "pictures") == ["rare/epoch_003.png"]


def test_last_epoch_is_drawn_where_the_number_of_steps_ends_the_run(tmp_path: Path) -> None:
    # Three steps an epoch.
    fit(tmp_path, {"rare": Spy(100)}, max_epochs=-1, max_steps=6)
    assert files(tmp_path / "pictures") == ["rare/epoch_002.png"]


@pytest.mark.parametrize(("val_size", "split"), [(8, "val"), (0, "train")])
def test_pictures_are_of_held_out_images_where_there_are_any(
    tmp_path: Path, val_size: int, split: str
) -> None:
    spy = Spy()
    fit(tmp_path, {"spy": spy}, data=tiny_data(val_size=val_size))
    assert spy.splits == [split]


def test_test_pictures_are_of_test_images(tmp_path: Path) -> None:
    module, data = tiny_module(), tiny_data()
    pictures = Pictures(
        str(tmp_path / "pictures"),
        {"reconstructions": Reconstructions(50, 1, 4), "curves": Curves(50)},
        max_files=2,
    )
    tiny_trainer(tmp_path, pictures).test(module, datamodule=data, verbose=False)
    assert files(tmp_path / "pictures") == ["reconstructions/test.png"]
    picture = read_png(tmp_path / "pictures/reconstructions/test.png")
    images, _ = data.images("test", 4)
    for place in range(4):
        assert torch.equal(cell(picture, 0, place), bytes_of(images[place, 0]))


def test_samples_come_from_the_same_latents_each_time(tmp_path: Path) -> None:
    spy = Spy()
    drawings: dict[str, Drawing] = {"samples": Samples(1, 8, animated=False), "spy": spy}
    # Weights stand still, so that nothing but the latents could change the picture.
    fit(tmp_path, drawings, module=tiny_module(lr=0.0), max_epochs=3)
    pictures = [read_png(path) for path in sorted((tmp_path / "pictures/samples").iterdir())]
    assert len(pictures) == 3
    assert torch.equal(pictures[0], pictures[1])
    assert torch.equal(pictures[0], pictures[2])
    assert torch.equal(spy.noise[0], spy.noise[2])


def test_samples_change_as_the_model_learns(tmp_path: Path) -> None:
    fit(tmp_path, {"samples": Samples(1, 8, animated=False)}, max_epochs=2)
    first, second = (read_png(path) for path in sorted((tmp_path / "pictures/samples").iterdir()))
    assert not torch.equal(first, second)


# -- drawing changes nothing ----------------------------------------------------------------------


def weights(module: VAEModule) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.model.parameters()])


def test_training_with_pictures_gives_the_weights_of_training_without(tmp_path: Path) -> None:
    plain, drawn = tiny_module(), tiny_module()
    tiny_trainer(tmp_path, max_epochs=3).fit(plain, datamodule=tiny_data())
    drawings: dict[str, Drawing] = {
        name: instantiate({**node, "every_n_epochs": 1}, name)
        for name, node in DRAWINGS.items()
        if name != "manifold"  # 400 images, no noise, and half of the time
    }
    fit(tmp_path, {**drawings, "spy": Spy()}, module=drawn, max_epochs=3)
    torch.testing.assert_close(weights(drawn), weights(plain), rtol=0, atol=0)


def test_a_model_is_drawn_in_evaluation_mode_and_trained_in_training_mode(tmp_path: Path) -> None:
    modes: list[bool] = []

    class Look(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, *args: Any) -> None:
            modes.append(all(part.training for part in pl_module.modules()))

    spy = Spy()
    fit(tmp_path, {"spy": spy}, Look(), max_epochs=2)
    assert spy.training == [False, False]
    assert spy.gradients == [False, False]
    assert modes == [True] * 6


def test_drawing_leaves_a_part_that_is_kept_in_evaluation_mode_as_it_was(tmp_path: Path) -> None:
    # As one does with a frozen part; Lightning itself keeps such modes over a validation.
    model = tiny_vae()
    model.encoder.eval()
    fit(tmp_path, {"spy": Spy()}, module=tiny_module(model), max_epochs=2)
    assert not model.encoder.training
    assert model.decoder.training


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "64-true"])
def test_a_model_can_be_drawn_in_the_precisions_that_it_trains_in(
    tmp_path: Path, precision: Any
) -> None:
    drawings: dict[str, Drawing] = {
        "reconstructions": Reconstructions(1, 1, 2),
        "samples": Samples(1, 2, animated=False),
        "manifold": Manifold(1, 2),
        "rate_per_dimension": RatePerDimension(1, 5),
        "latent_scatter": LatentScatter(1, 5),
    }
    fit(tmp_path, drawings, precision=precision)
    assert len(files(tmp_path / "pictures")) == len(drawings)


# -- history --------------------------------------------------------------------------------------


def test_history_has_one_point_for_each_epoch(tmp_path: Path) -> None:
    means: list[dict[str, float]] = []

    class Look(Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch:
                means.append({tag: float(v) for tag, v in trainer.callback_metrics.items()})

    history = fit(tmp_path, {}, Look(), max_epochs=3).history
    assert set(history) == {f"{stage}/{name}" for stage in ("train", "val") for name in TERMS}
    for tag, points in history.items():
        assert [epoch for epoch, _ in points] == [1, 2, 3]
        # What was logged for the first two epochs, in float32.
        logged = [metrics[tag] for metrics in means]
        assert [value for _, value in points[:2]] == pytest.approx(logged, rel=1e-6)


def test_history_has_no_point_for_an_epoch_that_was_not_validated(tmp_path: Path) -> None:
    history = fit(tmp_path, {}, max_epochs=5, check_val_every_n_epoch=2).history
    assert [epoch for epoch, _ in history["train/elbo"]] == [1, 2, 3, 4, 5]
    assert [epoch for epoch, _ in history["val/elbo"]] == [2, 4]


def test_history_survives_a_checkpoint_of_plain_containers(tmp_path: Path) -> None:
    before = fit(tmp_path, {}, max_epochs=2)
    torch.save(before.state_dict(), tmp_path / "state")
    after = Pictures(str(tmp_path), {}, max_files=2)
    after.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    assert after.history == before.history
    assert len(after.history["val/elbo"]) == 2


# -- TensorBoard ----------------------------------------------------------------------------------

CONFIG = {"model": {"latent_dim": 2}, "tags": ["a", "b"]}
EPOCHS = 2
STEPS = 6


@dataclass(frozen=True)
class Board:
    """What a run with all drawings left for TensorBoard."""

    folder: Path
    pictures: Path
    events: EventAccumulator
    data: ImageDataModule
    module: VAEModule


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    folder = tmp_path_factory.mktemp("board")
    drawings = {name: instantiate(node, name) for name, node in DRAWINGS.items()}
    module, data = tiny_module(config=CONFIG), tiny_data()
    trainer = tiny_trainer(
        folder,
        Pictures(str(folder / "pictures"), drawings, max_files=2),
        TensorBoardPages(projected=6),
        logger=TensorBoardLogger(folder, name="", version="tensorboard"),
        max_epochs=EPOCHS,
        log_every_n_steps=2,
    )
    trainer.fit(module, datamodule=data)
    trainer.test(module, datamodule=data, verbose=False)
    for logger in trainer.loggers:
        logger.finalize("success")
    # Every event: by default a sample of them is read.
    events = EventAccumulator(
        str(folder / "tensorboard"), {"images": 0, "scalars": 0, "tensors": 0}
    )
    events.Reload()
    return Board(folder / "tensorboard", folder / "pictures", events, data, module)


def steps(events: Sequence[Any]) -> list[int]:
    return [event.step for event in events]


def test_tensorboard_has_each_picture_at_each_epoch_drawn(board: Board) -> None:
    shown = [name for name in DRAWINGS if name != "traversals"]
    tested = [f"test/{name}" for name in shown if name != "curves"]
    assert set(board.events.Tags()["images"]) == {*shown, *tested, "samples_over_epochs"}
    for name, node in DRAWINGS.items():
        if name in shown:
            every_epoch = node["every_n_epochs"] == 1
            assert steps(board.events.Images(name)) == ([3, 6] if every_epoch else [6])
    assert all(steps(board.events.Images(tag)) == [STEPS] for tag in tested)


def test_tensorboard_shows_what_the_files_hold(board: Board) -> None:
    for tag, file in [
        ("samples", "samples/epoch_002.png"),
        ("curves", "curves/epoch_002.png"),
        ("test/reconstructions", "reconstructions/test.png"),
        ("samples_over_epochs", "samples/epochs.gif"),
    ]:
        event = board.events.Images(tag)[-1]
        assert event.encoded_image_string == (board.pictures / file).read_bytes()
        picture = read_png(board.pictures / file)
        assert (event.height, event.width) == picture.shape[1:]


def test_samples_become_a_film_with_a_frame_for_each_epoch(board: Board) -> None:
    with Image.open(board.pictures / "samples/epochs.gif") as film:
        assert film.n_frames == EPOCHS  # type: ignore[attr-defined]
        for index in range(EPOCHS):
            film.seek(index)
            frame = torch.from_numpy(np.array(film.convert("RGB"))).permute(2, 0, 1)
            picture = read_png(board.pictures / f"samples/epoch_00{index + 1}.png")
            # The epoch is written below the picture.
            assert torch.equal(frame[:, : picture.shape[1]], picture)
            assert frame[:, picture.shape[1] :].min() < 100


def test_tensorboard_has_the_terms_of_every_stage(board: Board) -> None:
    tags = set(board.events.Tags()["scalars"])
    # TensorBoard has one colour for each run: the validation is a run of its own.
    validation = EventAccumulator(str(board.folder / "val"), {"scalars": 0}).Reload()
    assert set(validation.Tags()["scalars"]) == {f"val/{name}" for name in TERMS}
    for name in TERMS:
        assert {f"train/{name}", f"train/{name}_step", f"test/{name}"} <= tags
        assert f"val/{name}" not in tags
        # At the steps of the pictures.
        assert steps(board.events.Scalars(f"train/{name}")) == [3, 6]
        assert steps(validation.Scalars(f"val/{name}")) == [3, 6]
        assert steps(board.events.Scalars(f"test/{name}")) == [STEPS]
        # Every second step, and the end of each epoch of three.
        assert steps(board.events.Scalars(f"train/{name}_step")) == [2, 3, 4, 6]


def test_training_and_validation_share_a_chart(board: Board) -> None:
    (event,) = board.events.Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout()
    layout.ParseFromString(event.tensor_proto.string_val[0])
    logged = [*board.events.Tags()["scalars"], *(f"val/{name}" for name in TERMS)]
    # TensorBoard looks for a chart's tags by searching with regular expressions.
    charts = {
        chart.title: [
            tag for tag in logged if any(re.search(pattern, tag) for pattern in chart.multiline.tag)
        ]
        for category in layout.category
        for chart in category.chart
    }
    assert {title: sorted(tags) for title, tags in charts.items()} == {
        name: [f"train/{name}", f"val/{name}"] for name in TERMS
    }


def test_configuration_is_shown_as_text(board: Board) -> None:
    (event,) = board.events.Tensors("configuration/text_summary")
    text = event.tensor_proto.string_val[0].decode()
    lines = ["model:", "  latent_dim: 2", "tags:", "- a", "- b"]
    # Four more spaces, without which Markdown would run the lines together.
    assert text.splitlines() == [f"    {line}" for line in lines]


def test_projector_has_posterior_means_of_test_images_with_their_labels(board: Board) -> None:
    assert "posterior_mean" in (board.folder / "projector_config.pbtxt").read_text()
    (tensors,) = board.folder.rglob("tensors.tsv")
    points = [
        [float(number) for number in row] for row in csv.reader(tensors.open(), delimiter="\t")
    ]
    images, labels = board.data.images("test", 6)
    with torch.no_grad():
        (latent,) = board.module.model.infer(images, 1)
        means = latent.mean
    # The projector shows three dimensions.
    shown = torch.cat([means, torch.zeros(6, 1)], dim=1)
    torch.testing.assert_close(torch.tensor(points), shown)
    (metadata,) = board.folder.rglob("metadata.tsv")
    names = [TinySource.class_names[label] for label in labels.tolist()]
    assert metadata.read_text().split() == names
    assert list(board.folder.rglob("sprite.png"))
