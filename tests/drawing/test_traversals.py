"""Which latent dimensions are most used, and where the prior's quantiles are."""

from typing import Any

import pytest
import torch

from tiny import composed_model
from untrained import SMALL
from vae_lightning.drawing.traversals import prior_quantiles, ranking


def test_quantiles_of_a_prior_without_a_formula_are_those_of_its_draws() -> None:
    model = composed_model(*SMALL, "model/prior=mixture").eval()
    torch.manual_seed(0)
    probabilities = torch.tensor([0.1, 0.5, 0.8])
    quantiles = prior_quantiles(model, [2, 0], probabilities)
    draws = model.sample_latents(20_000)[:, [2, 0]]
    for index in range(2):
        below = (draws[:, index, None] <= quantiles[index]).float().mean(0)
        torch.testing.assert_close(below, probabilities, atol=0.02, rtol=0)


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
