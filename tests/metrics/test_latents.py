"""The parts of the rate against quadrature and closed forms; units and probes on known data."""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    Laplace,
    MultivariateNormal,
    Normal,
    Uniform,
    kl_divergence,
)

from tiny import composed_model, tiny_vae
from vae_lightning.metrics import latents
from vae_lightning.metrics.decomposition import rate_decomposition
from vae_lightning.metrics.latents import active_units
from vae_lightning.metrics.probes import probe_accuracy
from vae_lightning.models import Latent

# Float32 log-densities of a few nats, averaged over the images.
ROUNDING = 1e-5


class Encoder:
    """Images are the posterior's means, (N, 1, 1, D)."""

    def __init__(
        self, posterior: Callable[[Tensor], Distribution], latent_dim: int, prior_scale: float = 1.0
    ) -> None:
        self.posterior = posterior
        self.prior = Independent(Normal(torch.zeros(latent_dim), prior_scale), 1)

    def infer(self, x: Tensor, num_samples: int, labels: Tensor | None = None) -> Sequence[Latent]:
        posterior = self.posterior(x.flatten(1))
        return (Latent(posterior.sample((num_samples,)), posterior, self.prior),)


def normal(scale: float) -> Callable[[Tensor], Distribution]:
    return lambda mean: Independent(Normal(mean, scale), 1)


def images(means: Tensor) -> Tensor:
    return means[:, None, None, :]


def decomposition(means: Tensor, scale: float, seed: int = 0) -> dict[str, float]:
    model: Any = Encoder(normal(scale), means.shape[1])
    return rate_decomposition(model, images(means), None, seed)


def random_means(num_images: int, latent_dim: int) -> Tensor:
    # Another seed than that of the samples: with the same one, means and noise would be equal.
    return torch.randn(num_images, latent_dim, generator=torch.Generator().manual_seed(1000))


# -- Active units ---------------------------------------------------------------------------------


def test_a_unit_is_active_when_its_mean_varies_by_more_than_a_hundredth() -> None:
    # Means at +-sqrt(v) around an offset have the variance v. A standard deviation of 0.01 is none.
    signs = torch.tensor([1.0, -1.0]).repeat(50)[:, None]
    variances = torch.tensor([0.009, 0.011, 0.0001, 1.0, 0.0, 0.02])
    assert active_units(3 + signs * variances.sqrt()) == 3


def test_units_are_counted_over_images_not_over_dimensions() -> None:
    # Each image's own means differ, but no dimension follows the image.
    assert active_units(torch.arange(4.0).expand(10, 4)) == 0


# -- Parts of the rate ----------------------------------------------------------------------------


def test_parts_agree_with_quadrature_in_one_dimension() -> None:
    scale, repeats = 0.5, 1000
    centers = torch.tensor([-2.0, -0.7, 0.1, 0.4, 1.5])
    parts = decomposition(centers.repeat(repeats)[:, None], scale)
    assert parts["mutual_information_bound"] == math.log(5 * repeats)

    grid = torch.linspace(-8, 8, 20_001, dtype=torch.float64)[:, None]
    log_q = Normal(centers.double(), scale).log_prob(grid)  # (G, 5)
    log_aggregate = log_q.logsumexp(1, keepdim=True) - math.log(5)
    log_p = Normal(0.0, 1.0).log_prob(grid)

    for name, log_ratio in {
        "mutual_information": log_q - log_aggregate,
        "marginal_kl": (log_aggregate - log_p).expand_as(log_q),
        "sampled_rate": log_q - log_p,
        "dimension_wise_kl": (log_aggregate - log_p).expand_as(log_q),
    }.items():
        mean = torch.trapezoid(log_q.exp() * log_ratio, grid, dim=0)  # (5,)
        variance = torch.trapezoid(log_q.exp() * log_ratio.square(), grid, dim=0) - mean.square()
        # Every center has the same number of samples, so only the variance around each counts.
        error = math.sqrt(variance.mean().item() / (5 * repeats))
        assert error < 0.02
        assert parts[name] == pytest.approx(mean.mean().item(), abs=3 * error), name


def test_sampled_rate_agrees_with_the_closed_form() -> None:
    means, scale = random_means(3000, 4), 0.3
    model: Any = Encoder(normal(scale), 4, prior_scale=1.5)
    rate = kl_divergence(model.posterior(means), model.prior).double()
    # Of log q - log p at z = m + s e, under a prior of scale t, each dimension's variance is
    # (m s / t^2)^2 + (s^2 / t^2 - 1)^2 / 2.
    ratio = scale / 1.5
    variance = (means.double() * ratio / 1.5).square() + (ratio**2 - 1) ** 2 / 2
    error = (variance.sum() / len(means) ** 2).sqrt().item()
    sampled = rate_decomposition(model, images(means), None, 0)["sampled_rate"]
    assert error < 0.03
    assert sampled == pytest.approx(rate.mean().item(), abs=3 * error)


@pytest.mark.parametrize("scale", [0.01, 0.3, 3.0])
def test_parts_add_up_to_the_sampled_rate(scale: float) -> None:
    parts = decomposition(random_means(100, 3), scale)
    information, rate = parts["mutual_information"], parts["sampled_rate"]
    assert information + parts["marginal_kl"] == pytest.approx(rate, abs=1e-10)
    split = parts["total_correlation"] + parts["dimension_wise_kl"]
    assert parts["marginal_kl"] == pytest.approx(split, abs=1e-10)


@pytest.mark.parametrize("latent_dim", [1, 3, 20])
@pytest.mark.parametrize("scale", [1e-3, 0.1, 0.5, 2.0])
def test_mutual_information_lies_between_nothing_and_the_choice_of_an_image(
    scale: float, latent_dim: int
) -> None:
    # Means and noise of the same size, so that the truth lies inside, not at an end.
    parts = decomposition(random_means(500, latent_dim), scale)
    assert 0 < parts["mutual_information"] <= parts["mutual_information_bound"] + ROUNDING


def test_separated_posteriors_distinguish_every_image() -> None:
    parts = decomposition(torch.arange(30.0)[:, None].expand(-1, 3), 0.01)
    assert parts["mutual_information"] == pytest.approx(math.log(30), abs=ROUNDING)
    # Each dimension alone distinguishes the images, so two of the three are redundant.
    assert parts["total_correlation"] == pytest.approx(2 * math.log(30), abs=ROUNDING)


def test_identical_posteriors_have_no_information() -> None:
    parts = decomposition(torch.ones(30, 3), 0.5)
    assert parts["mutual_information"] == pytest.approx(0, abs=ROUNDING)
    assert parts["total_correlation"] == pytest.approx(0, abs=ROUNDING)
    assert parts["marginal_kl"] == pytest.approx(parts["sampled_rate"], abs=ROUNDING)


def test_an_aggregate_that_factorises_has_no_total_correlation() -> None:
    # Means on a grid: their mixture is the product of its marginals at every point.
    axis = torch.tensor([-1.0, 0.2, 0.5, 2.0])
    means = torch.cartesian_prod(axis, axis, axis)
    parts = decomposition(means, 0.4)
    assert parts["total_correlation"] == pytest.approx(0, abs=ROUNDING)
    assert parts["mutual_information"] > 1


def test_total_correlation_agrees_with_that_of_a_normal_aggregate() -> None:
    # Correlated means, spread so densely that the aggregate is nearly the normal of their law:
    # covariance C + s^2, total correlation -log(1 - r^2) / 2.
    scale, correlation, count = 0.5, 0.8, 4000
    covariance = torch.tensor([[1.0, correlation], [correlation, 1.0]])
    white = torch.quasirandom.SobolEngine(2, scramble=True, seed=0).draw(count)
    means = Normal(0.0, 1.0).icdf(white) @ torch.linalg.cholesky(covariance).T
    found = decomposition(means, scale)["total_correlation"]

    r = correlation / (1 + scale**2)
    # Of log q(z) - sum_j log q(z_j) at normal z the variance is r^2.
    error = r / math.sqrt(count)
    assert error < 0.02
    assert found == pytest.approx(-math.log(1 - r**2) / 2, abs=3 * error)


def test_result_depends_on_neither_chunks_nor_memory_layout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = decomposition(random_means(70, 3), 0.3)
    for chunk in (1, 7, 1000):
        monkeypatch.setattr("vae_lightning.metrics.decomposition._SCORED", chunk)
        assert decomposition(random_means(70, 3), 0.3) == pytest.approx(expected, abs=1e-6)
    # Posteriors of the same law that take the general path, in many batches.
    monkeypatch.setattr(latents, "_ENCODED", 16)
    general = type("General", (Normal,), {})
    model: Any = Encoder(lambda mean: Independent(general(mean, 0.3), 1), 3)
    again = rate_decomposition(model, images(random_means(70, 3)), None, 0)
    batched = decomposition(random_means(70, 3), 0.3)
    assert again == pytest.approx(batched, abs=1e-6)
    assert batched["mutual_information_bound"] == math.log(70)


def test_posteriors_that_do_not_factorise_are_split_in_two_only() -> None:
    means = random_means(200, 2)
    joint: Any = Encoder(lambda mean: MultivariateNormal(mean, 0.09 * torch.eye(2)), 2)
    parts = rate_decomposition(joint, images(means), None, 0)
    assert set(parts) == {
        "mutual_information",
        "marginal_kl",
        "sampled_rate",
        "mutual_information_bound",
    }
    # The same law, and noise in the same order, as of independent normals.
    expected = decomposition(means, 0.3)
    assert parts == pytest.approx({name: expected[name] for name in parts}, abs=1e-4)


def test_densities_of_zero_are_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    # Most batches have no posterior that reaches a sample.
    monkeypatch.setattr(latents, "_ENCODED", 10)

    def uniform(mean: Tensor) -> Distribution:
        return Independent(Uniform(mean - 0.4, mean + 0.4, validate_args=False), 1, False)

    model: Any = Encoder(uniform, 2)
    parts = rate_decomposition(model, images(torch.arange(30.0)[:, None].expand(-1, 2)), None, 0)
    assert parts["mutual_information"] == pytest.approx(math.log(30), abs=ROUNDING)
    assert parts["total_correlation"] == pytest.approx(math.log(30), abs=ROUNDING)


def test_distant_images_count_for_nothing_and_near_ones_in_full() -> None:
    # Half the images share one posterior, the others another one far away: one bit.
    means = torch.tensor([-50.0, 50.0]).repeat(50)[:, None]
    model: Any = Encoder(lambda mean: Independent(Laplace(mean, 0.1), 1), 1)
    parts = rate_decomposition(model, images(means), None, 0)
    assert parts["mutual_information"] == pytest.approx(math.log(2), abs=ROUNDING)


def test_a_seed_gives_one_result_and_leaves_the_random_state_alone() -> None:
    means = random_means(50, 2)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = decomposition(means, 0.3, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert decomposition(means, 0.3, seed=0) == first
    assert decomposition(means, 0.3, seed=3) != first


def test_a_vae_is_decomposed_without_gradients() -> None:
    model = tiny_vae()
    x = torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    tracked = []
    model.encoder.register_forward_hook(lambda *call: tracked.append(call[2].requires_grad))
    parts = rate_decomposition(model, x, None, 0)
    assert parts["total_correlation"] + parts["dimension_wise_kl"] == pytest.approx(
        parts["marginal_kl"], abs=1e-10
    )
    assert tracked == [False]


# -- Probes ---------------------------------------------------------------------------------------


def clusters(num_images: int, seed: int) -> tuple[Tensor, Tensor]:
    """Four far apart in two dimensions."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (num_images,), generator=generator)
    centers = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    return centers[labels] + 0.1 * torch.randn(num_images, 2, generator=generator), labels


def test_probes_read_separated_clusters_perfectly() -> None:
    found = probe_accuracy(*clusters(200, 0), *clusters(100, 1))
    assert found == {"knn_accuracy": 1.0, "linear_probe_accuracy": 1.0}


def test_probes_are_at_chance_on_noise() -> None:
    means, labels = random_means(2000, 5), clusters(2000, 0)[1]
    found = probe_accuracy(means[:1000], labels[:1000], means[1000:], labels[1000:])
    # Four labels; three standard errors of 1,000 random answers. Probes that were fitted to
    # the test labels would do better: of five neighbours one is the image itself.
    error = math.sqrt(0.25 * 0.75 / 1000)
    assert found == pytest.approx(dict.fromkeys(found, 0.25), abs=3 * error)


def test_answers_for_an_image_do_not_depend_on_the_other_test_images() -> None:
    train, (means, labels) = clusters(200, 0), clusters(100, 1)
    means = means + torch.tensor([0.95, 0.0])  # near a boundary
    outlier = torch.full((1, 2), 1e4), torch.zeros(1, dtype=torch.int64)
    alone = probe_accuracy(*train, means, labels)
    joined = probe_accuracy(*train, torch.cat([means, outlier[0]]), torch.cat([labels, outlier[1]]))
    for name, value in alone.items():
        assert 0.5 < value < 1
        assert round(101 * joined[name]) - round(100 * value) in (0, 1)


def test_five_neighbours_vote() -> None:
    # By distance 0, 0, 1, 1, 1, 0, 0: one, three and seven neighbours would say 0.
    train = torch.arange(1.0, 8.0)[:, None]
    labels = torch.tensor([0, 0, 1, 1, 1, 0, 0])
    found = probe_accuracy(train, labels, torch.zeros(1, 1), torch.ones(1, dtype=torch.int64))
    assert found["knn_accuracy"] == 1.0


def test_the_linear_probe_is_linear_and_blind_to_the_units_of_a_dimension() -> None:
    means, labels = random_means(600, 2).double(), torch.arange(600) % 2
    noisy = means + labels[:, None] * torch.tensor([0.0, 2.0])
    units = torch.tensor([1.0, 1e-3])
    found, scaled = (
        probe_accuracy(x[:300], labels[:300], x[300:], labels[300:])["linear_probe_accuracy"]
        for x in (noisy, noisy * units)
    )
    # The best rule is right with probability 0.84.
    assert scaled == found == pytest.approx(0.84, abs=3 * math.sqrt(0.84 * 0.16 / 300))
    # Exclusive or: neighbours can learn it, no line can.
    xor = (means[:, 0] * means[:, 1] > 0).long()
    both = probe_accuracy(means[:300], xor[:300], means[300:], xor[300:])
    assert both["knn_accuracy"] > 0.9
    assert both["linear_probe_accuracy"] < 0.65


def test_probes_converge_in_silence_and_repeat_themselves() -> None:
    # Nearly the same dimension ten times, the labels in the differences: almost 200 steps.
    differences = random_means(10_000, 10)
    means = random_means(10_001, 1)[1:] + 0.03 * differences * torch.logspace(0, 1, 10)
    labels = differences.argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = probe_accuracy(means, labels, means[:100], labels[:100])
    assert probe_accuracy(means, labels, means[:100], labels[:100]) == first


# -- Latent means ---------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["conditional", "hierarchical"])
def test_latent_means_in_batches_are_those_of_the_model(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latents, "_ENCODED", 4)
    network = composed_model("data=digits", "data.size=8", f"model={model}").eval()
    x = torch.rand(10, 1, 8, 8)
    labels = torch.arange(10) if model == "conditional" else None
    # Nothing is drawn, not even where one layer depends on another.
    torch.testing.assert_close(
        latents.latent_means(network, x, labels), network.latent_means(x, labels)
    )
