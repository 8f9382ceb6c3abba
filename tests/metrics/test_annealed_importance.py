"""The tests' own annealed importance sampling, against evidence that is known."""

import math
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from annealed_importance import log_mean, log_weights, main
from euclidean_options import PRIORS, grid_2d, small_model
from linear_gaussian import grey_images, linear_gaussian, log_evidence
from tiny import composed_model
from untrained import SMALL, write_checkpoint
from vae_lightning.models import VAE

SHAPE = (1, 2, 3)


def linear_weights(num_chains: int, num_temperatures: int) -> Tensor:
    """Log weights of three images, minus the exact log p(x), (K, 3)."""
    model, x = linear_gaussian(SHAPE, correlated=True), grey_images(SHAPE)
    torch.manual_seed(0)
    return log_weights(model, x, num_chains, num_temperatures) - log_evidence(model, x)


@pytest.mark.parametrize(("num_chains", "num_temperatures"), [(20_000, 1), (1000, 20)])
def test_the_mean_weight_is_the_evidence_and_the_mean_log_weight_a_lower_bound(
    num_chains: int, num_temperatures: int
) -> None:
    log_weight = linear_weights(num_chains, num_temperatures)
    weight = log_weight.exp()
    error = weight.std(0) / math.sqrt(num_chains)
    assert (error < 0.05).all()
    assert ((weight.mean(0) - 1).abs() < 4 * error).all()
    assert (log_weight.mean(0) < -4 * log_weight.std(0) / math.sqrt(num_chains)).all()


def test_more_temperatures_shrink_the_gap_in_proportion_and_lead_to_the_exact_evidence() -> None:
    few, many = linear_weights(500, 8), linear_weights(500, 64)
    assert 4 < few.mean() / many.mean() < 20
    estimate, error = log_mean(many)
    assert (error < 0.1).all()
    assert (estimate.abs() < 4 * error).all()


# A flow as the prior takes ten times as long.
@pytest.mark.parametrize("prior", sorted({*PRIORS} - {"flow"}))
def test_binary_images_have_the_evidence_of_the_quadrature_with_every_prior(prior: str) -> None:
    model = small_model("diagonal_normal", prior)
    x = torch.bernoulli(torch.full((3, 1, 4, 4), 0.5), generator=torch.Generator().manual_seed(2))
    exact = by_quadrature(model, x.double())
    torch.manual_seed(0)
    estimate, error = log_mean(log_weights(model, x.double(), 100, 10))
    assert (error < 0.1).all()
    assert ((estimate - exact).abs() < 4 * error).all()


@torch.no_grad()
def by_quadrature(model: VAE, x: Tensor) -> Tensor:
    points, area = grid_2d()
    log_prior = model.prior_distribution().log_prob(points)
    log_likelihood = model.decode(points[:, None]).log_prob(x)  # (points, B)
    return (log_prior[:, None] + log_likelihood).logsumexp(0) + math.log(area)


def test_a_latent_that_is_not_euclidean_is_refused() -> None:
    model = composed_model(
        "model/posterior=von_mises_fisher", "model/prior=uniform_sphere", "data.size=4",
        "paths.run_dir=unused",
    )  # fmt: skip
    with pytest.raises(ValueError, match="Euclidean"):
        log_weights(model, torch.zeros(1, 1, 4, 4), 2, 2)


def test_the_script_compares_the_nll_of_a_checkpoint_with_the_estimate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_checkpoint(tmp_path / "best.ckpt", *SMALL)
    main([str(file), "--images=3", "--chains=32", "--temperatures=20", "--samples=2000"])
    nll, estimate = (float(text) for text in re.findall(r": (\d+\.\d+) ", capsys.readouterr().out))
    assert estimate == pytest.approx(nll, abs=0.05)
