"""The scikit-learn transformer."""

import gc
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.utils.estimator_checks import parametrize_with_checks

from vae_lightning import VAETransformer
from vae_lightning.errors import ConfigError

ROWS = load_digits().data[:300]  # (300, 64), from 0 to 16


def tiny(**settings: Any) -> VAETransformer:
    return VAETransformer(**{"latent_dim": 2, "epochs": 1, "random_state": 0, **settings})


@parametrize_with_checks([tiny(overrides=("trainer=cpu",))])
def test_scikit_learn_finds_no_fault(
    estimator: Any, check: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gc, "collect", lambda: 0)  # takes as long as the rest of such a run
    check(estimator)


@pytest.fixture(scope="module")
def trained() -> VAETransformer:
    return tiny(latent_dim=4, epochs=15, overrides=["data.batch_size=32"]).fit(ROWS)


def test_rows_are_reconstructed_in_their_own_units(trained: VAETransformer) -> None:
    back = trained.inverse_transform(trained.transform(ROWS))
    assert back.shape == ROWS.shape
    unexplained = np.square(back - ROWS).sum() / np.square(ROWS - ROWS.mean(0)).sum()
    assert unexplained < 0.9


def test_scores_are_bounds_on_the_log_density_of_a_row(trained: VAETransformer) -> None:
    scores = trained.score_samples(ROWS)
    images = torch.from_numpy(ROWS.reshape(-1, 1, 8, 8) / 16)
    generator = torch.Generator().manual_seed(0)
    expected = trained.model_.log_likelihood(images, 50, generator=generator)
    # A density of pixels from 0 to 16 is that of pixels from 0 to 1, over 16 for each of them.
    assert scores.mean() == pytest.approx(float(expected.mean()) - 64 * math.log(16), rel=0.01)
    assert trained.score(ROWS) == pytest.approx(scores.mean())
    # Comparable with scikit-learn's densities, and above one normal distribution of equal scale.
    assert scores.mean() > -32 * math.log(2 * math.pi * math.e * ROWS.var())
    assert abs(scores.mean() - PCA(4).fit(ROWS).score(ROWS)) < 64
    noise = np.random.default_rng(0).permuted(ROWS, axis=1)
    assert trained.score(noise) < trained.score(ROWS)


def test_a_row_has_the_score_that_it_has_alone_and_scores_tighten(trained: VAETransformer) -> None:
    alone = [trained.score_samples(row[None])[0] for row in ROWS[:5]]
    np.testing.assert_allclose(trained.score_samples(ROWS)[:5], alone)
    bounds = []
    for count in (1, 10, 200):
        trained.set_params(num_samples=count)
        bounds.append(trained.score(ROWS))
    trained.set_params(num_samples=50)
    assert bounds == sorted(bounds)


def test_pixels_that_fill_up_a_square_are_not_scored() -> None:
    rows = ROWS[:, 8:18]  # 10 features in 4 x 4 pixels
    transformer = tiny().fit(rows)
    assert transformer.image_shape_ == (1, 4, 4)
    before = transformer.score_samples(rows)
    likelihood: Any = transformer.model_.likelihood
    with torch.no_grad():
        likelihood.head.bias[10:] += 3
    np.testing.assert_array_equal(transformer.score_samples(rows), before)
    with torch.no_grad():
        likelihood.head.bias[9] += 3
    assert (transformer.score_samples(rows) < before).all()


def test_colour_rows_and_other_networks(trained: VAETransformer) -> None:
    colour = np.tile(ROWS, 3)
    networks = ["model/encoder=conv", "model/decoder=conv"]
    transformer = tiny(image_shape=(3, 8, 8), overrides=networks).fit(colour)
    assert transformer.model_.image_shape == (3, 8, 8)
    assert transformer.transform(colour[:3]).shape == (3, 2)
    assert list(transformer.get_feature_names_out()) == ["vaetransformer0", "vaetransformer1"]


def test_rows_may_be_images_that_are_not_square() -> None:
    transformer = tiny(image_shape=(2, 8, 4)).fit(ROWS)
    assert transformer.model_.image_shape == (2, 8, 4)
    assert transformer.inverse_transform(transformer.transform(ROWS[:3])).shape == (3, 64)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"image_shape=\(64,\) should be \(H, W\) or"):
        tiny(image_shape=(64,)).fit(ROWS)
    with pytest.raises(ValueError, match=r"image_shape=\(7, 7\) has 49 pixels, and X 64"):
        tiny(image_shape=(7, 7)).fit(ROWS)
    with pytest.raises(ConfigError, match="latent_dim=0 is out of range"):
        tiny(latent_dim=0).fit(ROWS)
    other = tiny(overrides=["model/posterior=full_normal"]).fit(ROWS)
    with pytest.raises(ValueError, match=r"score_samples needs .* model/posterior=diagonal_normal"):
        other.score_samples(ROWS)
