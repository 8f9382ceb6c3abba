"""Posteriors with dependent dimensions, against integrals, torch and samples."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Laplace, MultivariateNormal, Normal, kl_divergence

from euclidean_options import check_density_and_samples, shaken
from tiny import composed_model
from vae_lightning.distributions.flows import FlowDistribution
from vae_lightning.distributions.kl import closed_form
from vae_lightning.distributions.posteriors.flow import FlowPosterior
from vae_lightning.distributions.posteriors.full_normal import FullNormal
from vae_lightning.distributions.posteriors.posterior import Posterior
from vae_lightning.distributions.priors.standard_normal import StandardNormal
from vae_lightning.distributions.sampling import draw

FEATURES = 6


def full_normal(latent_dim: int) -> FullNormal:
    torch.manual_seed(0)
    return shaken(FullNormal(FEATURES, latent_dim)).double()


def flow(latent_dim: int, transforms: int = 2, passes: int | None = None) -> FlowPosterior:
    torch.manual_seed(0)
    return shaken(FlowPosterior(FEATURES, latent_dim, transforms, [12], passes), by=0.2).double()


def features(*batch: int) -> Tensor:
    return torch.randn(*batch, FEATURES, generator=torch.Generator().manual_seed(2)).double()


@pytest.mark.parametrize("posterior", [full_normal(2), flow(2)], ids=["full_normal", "flow"])
def test_density_integrates_to_one_and_samples_follow_it(posterior: Posterior) -> None:
    check_density_and_samples(posterior(features()))


@pytest.mark.parametrize("make", [full_normal, flow])
@pytest.mark.parametrize("batch", [(), (4,), (3, 4)])
@pytest.mark.parametrize("latent_dim", [1, 3])
def test_shapes_follow_the_features(make: object, batch: tuple[int, ...], latent_dim: int) -> None:
    assert callable(make)
    posterior = make(latent_dim)
    q = posterior(features(*batch))
    assert q.batch_shape == batch
    assert q.event_shape == (latent_dim,)
    assert q.mean.shape == (*batch, latent_dim)
    z, log_q = draw(q, 5)
    assert z.shape == (5, *batch, latent_dim)
    assert z.requires_grad
    scored = q.log_prob(z)
    assert scored.shape == (5, *batch)
    if log_q is not None:
        torch.testing.assert_close(log_q, scored)
    # Each index of the batch has its own features.
    if batch == (3, 4):
        torch.testing.assert_close(posterior(features(3, 4)[1]).log_prob(z[:, 1]), scored[:, 1])


@pytest.mark.parametrize("make", [full_normal, flow])
def test_every_untrained_parameter_gets_a_gradient(make: object) -> None:
    torch.manual_seed(0)
    fresh = (
        FullNormal(FEATURES, 4)
        if make is full_normal
        else FlowPosterior(FEATURES, 4, 3, [12, 12], None)
    )
    q = fresh(features(8).float())
    z, log_q = draw(q, 2)
    ((z - 1).square().sum(-1) + (q.log_prob(z) if log_q is None else log_q)).mean().backward()
    for name, parameter in fresh.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


# -- normal with a full covariance ----------------------------------------------------------------


@pytest.mark.parametrize("latent_dim", [1, 2, 7])
def test_rate_of_the_full_normal_agrees_with_torch_and_with_samples(latent_dim: int) -> None:
    q = full_normal(latent_dim)(features(4))
    prior = StandardNormal(latent_dim).double()(lambda _: q)
    rate = closed_form(q, prior)
    assert rate is not None
    unit = MultivariateNormal(torch.zeros(latent_dim).double(), torch.eye(latent_dim).double())
    torch.testing.assert_close(rate, kl_divergence(q, unit))
    torch.manual_seed(0)
    z = q.sample((20_000,))
    ratio = q.log_prob(z) - prior.log_prob(z)
    assert ((ratio.mean(0) - rate).abs() < 5 * ratio.std(0) / 20_000**0.5).all()


def test_rate_of_the_full_normal_to_any_diagonal_normal_agrees_with_torch() -> None:
    q = full_normal(3)(features(4))
    mean, scale = torch.randn(3).double(), 0.5 + torch.rand(3).double()
    rate = closed_form(q, Independent(Normal(mean, scale), 1))
    assert rate is not None
    full = MultivariateNormal(mean, scale_tril=scale.diag())
    torch.testing.assert_close(rate, kl_divergence(q, full))
    assert closed_form(q, Independent(Laplace(mean, scale), 1)) is None


def test_covariance_is_that_of_the_head_and_not_diagonal() -> None:
    posterior = full_normal(3)
    q = posterior(features())
    mean, log_variance, below = posterior.head(features()).split([3, 3, 3])
    factor = torch.eye(3).double()
    factor[1, 0], factor[2, 0], factor[2, 1] = below / 3**0.5
    factor = torch.diag((0.5 * log_variance).exp()) @ factor
    assert isinstance(q, MultivariateNormal)
    torch.testing.assert_close(q.covariance_matrix, factor @ factor.T)
    torch.testing.assert_close(q.mean, mean)
    torch.manual_seed(0)
    drawn = torch.cov(q.sample((50_000,)).T)
    torch.testing.assert_close(drawn, q.covariance_matrix, rtol=0.05, atol=0.02)
    assert (q.covariance_matrix.abs() > 0.01).all()


# -- inverse autoregressive flow ------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_density_returned_with_a_sample_equals_its_log_prob(
    dtype: torch.dtype, tolerance: float
) -> None:
    q = flow(10, transforms=4).to(dtype)(features(8).to(dtype))
    assert isinstance(q, FlowDistribution)
    z, log_q = q.rsample_and_log_prob(torch.Size([5]))
    assert log_q.dtype == dtype
    torch.testing.assert_close(log_q, q.log_prob(z), rtol=tolerance, atol=tolerance)


def test_density_of_a_sample_is_that_of_the_noise_less_the_log_of_the_jacobian() -> None:
    q = flow(4, transforms=3)(features())
    assert isinstance(q, FlowDistribution)
    torch.manual_seed(0)
    z, log_q = q.rsample_and_log_prob(torch.Size([]))
    torch.manual_seed(0)
    noise = q.base.rsample()
    torch.testing.assert_close(q.transform(noise), z)
    jacobian = torch.autograd.functional.jacobian(q.transform, noise)
    torch.testing.assert_close(log_q, q.base.log_prob(noise) - jacobian.slogdet().logabsdet)
    # Two orders, so that every dimension comes to depend on every other.
    assert (jacobian.abs() > 1e-6).all()


@pytest.mark.parametrize(("latent_dim", "passes"), [(1, None), (2, None), (5, None), (5, 2)])
def test_steps_given_the_features_are_those_that_zuko_makes_of_them(
    latent_dim: int, passes: int | None
) -> None:
    posterior = shaken(flow(latent_dim, 3, passes))
    ours, theirs = posterior(features(6)).transform, posterior.transform(features(6))
    points = torch.randn(4, 6, latent_dim).double()
    torch.testing.assert_close(ours.call_and_ladj(points), theirs.call_and_ladj(points))
    torch.testing.assert_close(ours.inv.call_and_ladj(points), theirs.inv.call_and_ladj(points))
    torch.testing.assert_close(ours(points[0]), theirs(points[0]))


@pytest.mark.parametrize(("passes", "groups"), [(None, 6), (2, 2), (3, 3), (9, 6)])
def test_a_sample_with_its_density_takes_one_pass_and_a_score_one_for_each_group(
    passes: int | None, groups: int
) -> None:
    posterior = flow(6, 2, passes)
    runs: list[int] = []
    for step in posterior.transform.transforms:
        step.hyper[1].register_forward_hook(lambda *_: runs.append(1))
    q = posterior(features(3))
    z, log_q = draw(q, 2)
    assert len(runs) == 2
    runs.clear()
    torch.testing.assert_close(q.log_prob(z), log_q)
    # Of each step one for each group, and one for the slope at the point that they find.
    assert len(runs) == 2 * (groups + 1)


def test_flow_starts_near_its_base_and_leaves_it_when_shaken() -> None:
    torch.manual_seed(0)
    posterior = FlowPosterior(FEATURES, 5, transforms=4, hidden=[32], passes=None).double()
    x = features(10)

    def moved() -> Tensor:
        q = posterior(x)
        assert isinstance(q, FlowDistribution)
        torch.manual_seed(0)
        noise = q.base.rsample((20,))
        torch.testing.assert_close(q.mean, q.transform(q.base.mean))
        return (q.transform(noise) - noise).abs().max()

    assert 0 < moved() < 0.15
    shaken(posterior)
    assert moved() > 0.5


def test_steps_of_the_flow_depend_on_the_features() -> None:
    posterior = flow(3)
    a, b = posterior(features(2)[0]), posterior(features(2)[1])
    assert isinstance(a, FlowDistribution)
    assert isinstance(b, FlowDistribution)
    noise = torch.zeros(3).double()
    assert ((a.transform(noise) - b.transform(noise)).abs() > 1e-3).all()


def test_glorot_weights_leave_a_flow_near_the_identity() -> None:
    model = composed_model(
        "model/posterior=flow", "model/prior=flow", "model.initialization=glorot_uniform"
    )
    plain = composed_model("model/posterior=flow", "model/prior=flow")
    for ours, theirs in ((model.prior, plain.prior), (model.posterior, plain.posterior)):
        name = next(name for name, _ in reversed(list(ours.named_parameters())) if "weight" in name)
        assert torch.equal(ours.get_parameter(name), theirs.get_parameter(name)), name
    assert not torch.equal(
        model.encoder.get_parameter("layers.0.weight"),
        plain.encoder.get_parameter("layers.0.weight"),
    )
