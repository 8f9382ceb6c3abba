"""Which latent dimensions are most used, and where the prior's quantiles are."""

from typing import Any

import pytest
import torch

from allocations import Largest
from option_grid import PAIRS
from tiny import composed_model
from untrained import SMALL
from vae_lightning.drawing.traversals import (
    check_dimensions,
    prior_quantiles,
    prior_spread,
    ranking,
)
from vae_lightning.utils import blocks


def test_quantiles_of_a_prior_without_a_formula_are_those_of_its_draws() -> None:
    model = composed_model(*SMALL, "model/prior=mixture").eval()
    torch.manual_seed(0)
    probabilities = torch.tensor([0.1, 0.5, 0.8])
    quantiles = prior_quantiles(model, [2, 0], probabilities)
    draws = model.sample_latents(20_000)[:, [2, 0]]
    for index in range(2):
        below = (draws[:, index, None] <= quantiles[index]).float().mean(0)
        torch.testing.assert_close(below, probabilities, atol=0.02, rtol=0)


EUCLIDEAN = [
    (posterior, prior)
    for posterior, prior in PAIRS
    if posterior not in ("relaxed_categorical", "von_mises_fisher")
    and (posterior == "diagonal_normal" or prior == "vamp")
    and (posterior, prior) != ("deterministic", "vamp")
]


@pytest.mark.parametrize(("posterior", "prior"), EUCLIDEAN)
def test_no_prior_takes_much_memory_to_draw_a_picture(posterior: str, prior: str) -> None:
    # At the default sizes: all draws from all components were 800 MB, for a few hundred kB.
    model = composed_model(f"model/posterior={posterior}", f"model/prior={prior}").eval()
    check_dimensions(model)
    with torch.no_grad(), Largest() as largest:
        mean, width = prior_spread(model)
        quantiles = prior_quantiles(model, [0, 7], torch.tensor([0.1, 0.9]))
        model.sample(64)
    assert mean.shape == width.shape == (20,)
    assert quantiles.shape == (2, 2)
    assert largest.bytes < 100e6


@pytest.mark.parametrize(
    ("posterior", "prior"), [pair for pair in PAIRS if pair != ("deterministic", "vamp")]
)
def test_no_prior_takes_much_memory_to_score_many_samples(
    monkeypatch: pytest.MonkeyPatch, posterior: str, prior: str
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 2**21)
    model = composed_model(f"model/posterior={posterior}", f"model/prior={prior}").eval()
    with torch.no_grad():
        p = model.prior_distribution()
        z = model.sample_latents(100).repeat(4, 1).unflatten(0, (5, 80))
        with Largest() as largest:
            log_prob = p.log_prob(z)
        torch.testing.assert_close(log_prob[0], p.log_prob(z[0]), rtol=1e-4, atol=1e-3)
    assert log_prob.shape == (5, 80)
    assert largest.bytes < 2**21


def test_dimensions_are_ranked_by_their_rates() -> None:
    model = composed_model(*SMALL).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)  # so that images differ in their latents
        images = torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        base: Any = model.encode(images).base_dist  # type: ignore[attr-defined]
    rates = (0.5 * (base.loc**2 + base.scale**2 - 1) - base.scale.log()).mean(0)
    found = ranking(model, images, None)
    assert found.order == rates.argsort(descending=True).tolist()
    assert found.figures == pytest.approx(rates.sort(descending=True)[0].tolist(), rel=1e-4)
