"""Anomaly scores: against closed forms, and independent of the other images."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from linear_gaussian import SCALE, linear_gaussian
from tiny import TinySource, composed_model, head, tiny_vae
from vae_lightning.detection.scores import UNITS, Mahalanobis, Scorer, check_scores


def test_mahalanobis_distance_is_the_formula_with_numpys_covariance() -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    reference = torch.randn(50, 3, generator=generator, dtype=torch.float64) @ mixing + 5
    vectors = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    inverse = np.linalg.inv(np.cov(reference.numpy().T))
    differences = vectors.numpy() - reference.numpy().mean(0)
    expected = [math.sqrt(row @ inverse @ row) for row in differences]
    assert Mahalanobis(reference)(vectors).tolist() == pytest.approx(expected)


# The second is constant up to rounding, as the means of a collapsed latent are.
@pytest.mark.parametrize("deviation", [0.0, 1.2e-7])
def test_a_constant_latent_does_not_change_the_mahalanobis_distance(deviation: float) -> None:
    generator = torch.Generator().manual_seed(0)
    reference = torch.randn(50, 2, generator=generator)
    constant = 1 + deviation * torch.randint(-1, 2, (50, 1), generator=generator)
    vectors = torch.tensor([[1.0, 2.0]])
    found = Mahalanobis(torch.cat([reference, constant], 1))(
        torch.cat([vectors, torch.tensor([[1.0000004]])], 1)
    )
    assert found.item() == pytest.approx(Mahalanobis(reference)(vectors).item())


def test_scores_of_a_linear_model_are_the_closed_forms() -> None:
    model = linear_gaussian((1, 2, 2))
    images = torch.randint(0, 256, (2, 1, 2, 2), generator=torch.Generator().manual_seed(0))
    images = images.to(torch.uint8)
    names = ["reconstruction_probability", "elbo", "reconstruction"]
    found = Scorer(model, names, num_samples=20_000, seed=0)(images, "")
    x = images.flatten(1).double() / 255
    weight, bias = head(model.likelihood).weight, head(model.likelihood).bias
    posterior = model.encode(images.double() / 255)
    error = (x - posterior.mean @ weight.T - bias).square().sum(1)
    spread = (posterior.variance * weight.square().sum(0)).sum(1)
    constant = 4 / 2 * math.log(2 * math.pi * SCALE**2)
    expected = constant + (error + spread) / (2 * SCALE**2)
    rate = (posterior.variance + posterior.mean**2 - 1 - posterior.variance.log()).sum(1) / 2
    assert found["reconstruction"].tolist() == pytest.approx(error.tolist())
    # A standard deviation of about 1 nat over the square root of 20,000.
    sampled = found["reconstruction_probability"]
    assert sampled.tolist() == pytest.approx(expected.tolist(), abs=0.05)
    assert (found["elbo"] - sampled).tolist() == pytest.approx(rate.tolist())


def test_a_score_depends_on_the_seed_and_not_on_the_other_images() -> None:
    images, _ = TinySource().load(Path(), train=True)
    scorer = Scorer(tiny_vae(), list(UNITS), 4, seed=1, training_images=images)
    everything, few = scorer(images, ""), scorer(images[:7], "")
    for name in UNITS:
        assert torch.allclose(everything[name][:7], few[name], rtol=1e-5)
    other = Scorer(tiny_vae(), ["elbo"], 4, seed=2)(images, "")
    assert not torch.allclose(everything["elbo"], other["elbo"], rtol=1e-5)


@pytest.mark.parametrize(
    ("override", "name", "message"),
    [
        ("model=conditional", "latent", "the model is conditional"),
        ("model/posterior=deterministic", "nll", "nll needs a posterior with a density"),
        ("model/posterior=deterministic", "elbo", "elbo needs a posterior with a density"),
    ],
)
def test_scores_that_a_model_does_not_have_are_refused(
    override: str, name: str, message: str
) -> None:
    model = composed_model("data=digits", override)
    with pytest.raises(ValueError, match=message):
        check_scores([name], model)
    if name != "latent":
        check_scores(["reconstruction_probability", "reconstruction", "latent"], model)
