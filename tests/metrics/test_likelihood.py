"""The bounds of single images against evidence that is known, and the protocol of their noise."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from linear_gaussian import grey_images, linear_gaussian, log_evidence, with_wrong_posterior
from tiny import head, tiny_vae
from vae_lightning.evaluation.likelihood import likelihood_scores
from vae_lightning.metrics import ImageBounds, likelihood
from vae_lightning.models import VAE, Trace

SHAPE = (1, 2, 3)


def images_of(model: VAE, count: int, seed: int = 0) -> Tensor:
    """Images drawn from the model itself, so that the mean of -log p(x) is its entropy."""
    torch.manual_seed(seed)
    return model.decode(model.prior_distribution().sample((count,))).sample()


def bounds(
    model: VAE, x: Tensor, num_samples: int, seed: int = 0, sizes: tuple[int, ...] = ()
) -> Tensor:
    metric = ImageBounds(num_samples, seed)
    parts = x.split(list(sizes) or [len(x)])
    indices = torch.arange(len(x)).split(list(sizes) or [len(x)])
    for part, chosen in zip(parts, indices, strict=True):
        metric.update(model, part, chosen)
    return metric.compute()


@pytest.mark.parametrize("correlated", [False, True])
@pytest.mark.parametrize("num_samples", [1, 7])
def test_nll_of_the_true_posterior_is_the_evidence(correlated: bool, num_samples: int) -> None:
    model, x = linear_gaussian(SHAPE, correlated), grey_images(SHAPE)
    nll = bounds(model, x, num_samples)[:, 0]
    torch.testing.assert_close(nll, -log_evidence(model, x), rtol=0, atol=1e-10)


def test_nll_tightens_with_more_samples_and_converges_to_the_evidence() -> None:
    model = with_wrong_posterior(SHAPE)
    x = images_of(model, 200)
    exact = -log_evidence(model, x)
    gaps = [bounds(model, x, k)[:, 0] - exact for k in (5, 50, 5000)]
    means = [gap.mean().item() for gap in gaps]
    assert means[0] > 2 * means[1] > 4 * abs(means[2])
    # What is left after 5,000 samples is the error of their mean.
    standard_error = gaps[2].std().item() / math.sqrt(len(x))
    assert standard_error < 0.005
    assert abs(means[2]) < 4 * standard_error


def test_elbo_rate_and_distortion_are_means_over_the_samples() -> None:
    model, x = with_wrong_posterior(SHAPE), grey_images(SHAPE)
    _, elbo, rate, distortion = bounds(model, x, 3000).T
    torch.testing.assert_close(elbo, -distortion - rate, rtol=0, atol=1e-10)
    trace = model(x, 200_000)
    torch.testing.assert_close(rate, trace.rate[0], rtol=0, atol=1e-10)
    error = trace.distortion.std(0) / math.sqrt(3000)
    assert ((distortion - trace.distortion.mean(0)).abs() < 4 * error).all()


def test_standard_error_covers_the_entropy_as_often_as_it_should() -> None:
    model = linear_gaussian(SHAPE)
    x = images_of(model, 400 * 25, seed=1)
    nll = -log_evidence(model, x)
    covariance = torch.cov(images_of(model, 10).flatten(1).T)  # only its size is used
    weight = head(model.likelihood).weight
    exact = weight @ weight.T + 0.25 * torch.eye(len(covariance))
    entropy = 0.5 * torch.logdet(2 * math.pi * math.e * exact)
    inside = 0
    for group in nll.split(25):
        rows = torch.stack([group, group, group, group], dim=1)
        scores = likelihood_scores(rows, num_pixels=6)
        assert scores["bits_per_dimension"] == pytest.approx(scores["nll"] / 6 / math.log(2))
        inside += abs(scores["nll"] - entropy.item()) < 2 * scores["nll_standard_error"]
    # 94 % of 400 for groups of 25 (Student's t); five binomial deviations are 6 %.
    assert 0.88 * 400 < inside < 400


def test_samples_come_in_chunks_so_that_memory_does_not_grow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, x = with_wrong_posterior(SHAPE), grey_images(SHAPE)[:1]
    asked: list[int] = []
    log_weights: list[Tensor] = []

    chunked_trace = model.chunked_trace

    def watched(x: Tensor, num_samples: int, *options: Any, **more: Any) -> Trace:
        asked.append(num_samples)
        trace = chunked_trace(x, num_samples, *options, **more)
        log_weights.append(trace.log_weight)
        return trace

    monkeypatch.setattr(model, "chunked_trace", watched)
    monkeypatch.setattr(likelihood, "_DRAWN", 64)
    nll = bounds(model, x, 150)[0, 0]
    assert asked == [64, 64, 22]
    whole = torch.cat(log_weights)
    expected = math.log(150) - whole.logsumexp(0).squeeze()
    torch.testing.assert_close(nll, expected, rtol=0, atol=1e-12)


def test_scores_are_means_over_the_images_however_many_are_measured_at_a_time() -> None:
    rows = torch.arange(4.0).repeat(50, 1) + torch.arange(50.0)[:, None] ** 2
    scores = likelihood_scores(rows, num_pixels=6)
    for name, column in zip(("nll", "elbo", "rate", "distortion"), rows.T, strict=True):
        assert scores[name] == pytest.approx(column.mean().item())


@pytest.mark.parametrize("sizes", [(1,) * 9, (4, 4, 1), (2, 7)])
def test_numbers_do_not_depend_on_how_images_are_batched(sizes: tuple[int, ...]) -> None:
    model = tiny_vae()
    x = torch.rand(9, 1, 4, 4)
    assert torch.equal(bounds(model, x, 20), bounds(model, x, 20, sizes=sizes))


def test_numbers_do_not_depend_on_the_number_of_processes() -> None:
    model = tiny_vae()
    x = torch.rand(9, 1, 4, 4)
    alone = bounds(model, x, 20)
    metrics = [ImageBounds(20, 0) for _ in range(2)]
    for rank, metric in enumerate(metrics):
        metric.update(model, x[rank::2], torch.arange(9)[rank::2])
    # What torchmetrics does when processes meet: the states, one after the other.
    first, second = metrics
    first.indices += second.indices
    first.bounds += second.bounds
    assert torch.equal(first.compute(), alone)


def test_each_image_has_noise_of_its_own_and_the_seed_changes_it() -> None:
    model = tiny_vae()
    x = torch.rand(1, 1, 4, 4).expand(2, -1, -1, -1)
    first, second = bounds(model, x, 3)
    assert first[0] != second[0]
    assert torch.equal(bounds(model, x, 3)[0], first)
    assert bounds(model, x, 3, seed=1)[0, 0] != first[0]


def test_evaluation_leaves_the_random_state_alone() -> None:
    model, x = tiny_vae(), torch.rand(2, 1, 4, 4)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    bounds(model, x, 3)
    assert torch.equal(torch.rand(3), expected)
