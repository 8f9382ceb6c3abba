"""The mixture with equal weights: the density and the samples of torch's, in less memory."""

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Independent,
    Laplace,
    MixtureSameFamily,
    MultivariateNormal,
)

from allocations import Largest
from vae_lightning.distributions.equal_mixture import EqualMixture, draws_of_each
from vae_lightning.utils import blocks


def normals(components: int, dims: int, spread: float = 3.0) -> MultivariateNormal:
    generator = torch.Generator().manual_seed(0)
    means = spread * torch.randn(components, dims, generator=generator)
    factors = torch.randn(components, dims, dims, generator=generator).tril(-1)
    return MultivariateNormal(means, scale_tril=factors + torch.eye(dims))


def of_torch(mixture: EqualMixture) -> MixtureSameFamily:
    return MixtureSameFamily(Categorical(torch.ones(mixture.count)), mixture.components)


@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_the_density_is_that_of_torch(shape: tuple[int, ...]) -> None:
    mixture = EqualMixture(normals(7, 3))
    z = 4 * torch.randn(*shape, 3)
    torch.testing.assert_close(mixture.log_prob(z), of_torch(mixture).log_prob(z))
    torch.testing.assert_close(mixture.mean, of_torch(mixture).mean)


def test_the_density_has_the_gradient_of_torch_and_is_the_same_in_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mixture = EqualMixture(normals(7, 3))
    z = torch.randn(5, 3, requires_grad=True)
    whole = mixture.log_prob(z)
    (ours,) = torch.autograd.grad(whole.sum(), z)
    (theirs,) = torch.autograd.grad(of_torch(mixture).log_prob(z).sum(), z)
    torch.testing.assert_close(ours, theirs)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1)
    with torch.no_grad():
        torch.testing.assert_close(mixture.log_prob(z), whole)


@pytest.mark.parametrize("count", [1, 10, 200_000])
def test_samples_have_the_shape_asked_for(count: int) -> None:
    mixture = EqualMixture(normals(6, 2))
    assert mixture.sample(torch.Size([count])).shape == (count, 2)
    assert mixture.sample().shape == (2,)
    assert mixture.sample(torch.Size([2, count])).shape == (2, count, 2)


def test_each_component_is_drawn_equally_often_in_any_order_and_as_itself() -> None:
    torch.manual_seed(0)
    # Far apart, so that the component of a sample is known.
    means = 1000 * torch.arange(5.0).double()[:, None].expand(5, 2)
    scales = torch.arange(1.0, 6.0).double()[:, None].expand(5, 2)
    z = EqualMixture(Independent(Laplace(means, scales), 1)).sample(torch.Size([50_000]))
    component = (z[:, 0] / 1000).round().long()
    for part in (component, component[:10_000], component[-10_000:]):
        share = part.bincount(minlength=5) / len(part)
        assert ((share - 0.2).abs() < 5 * (0.16 / len(part)) ** 0.5).all()
    # Which component comes next does not depend on the one before.
    after = component[1:][component[:-1] == 2].bincount(minlength=5) / 10_000
    assert ((after - 0.2).abs() < 0.02).all()
    for index in range(5):
        own = z[component == index] - means[index]
        torch.testing.assert_close(own.abs().mean(0), scales[index], rtol=0.05, atol=0)
        assert (own.mean(0).abs() < 5 * 1.5 * scales[index] / 100).all()
        assert len(own.unique(dim=0)) == len(own)  # no sample is used twice


def test_moments_are_those_of_the_density() -> None:
    torch.manual_seed(0)
    mixture = EqualMixture(normals(9, 2, spread=2.0))
    z = mixture.sample(torch.Size([200_000]))
    torch.testing.assert_close(z.mean(0), mixture.mean, rtol=0, atol=0.03)
    torch.testing.assert_close(z.var(0), of_torch(mixture).variance, rtol=0.02, atol=0)
    # E_p[f(z)] = E_q[f(z) p(z) / q(z)] with q a wide normal.
    proposal = Independent(torch.distributions.Normal(torch.zeros(2), torch.full((2,), 5.0)), 1)

    def f(points: Tensor) -> Tensor:
        return torch.sin(points[:, 0]) * torch.cos(points[:, 1])

    y = proposal.sample(torch.Size([200_000]))
    expected = (f(y) * (mixture.log_prob(y) - proposal.log_prob(y)).exp()).mean()
    torch.testing.assert_close(f(z).mean(), expected, rtol=0, atol=0.02)


def test_sampling_takes_little_more_memory_than_the_samples() -> None:
    mixture = EqualMixture(Independent(Laplace(torch.zeros(100, 4), 1.0), 1))
    with Largest() as largest:
        z = mixture.sample(torch.Size([20_000]))
    assert largest.bytes <= 2 * z.numel() * z.element_size()


@pytest.mark.parametrize(("samples", "components"), [(64, 500), (2000, 500), (20_000, 10), (9, 1)])
def test_no_component_is_chosen_more_often_than_it_is_drawn(samples: int, components: int) -> None:
    torch.manual_seed(0)
    chosen = torch.randint(components, (200, samples))
    counts = torch.zeros(200, components).scatter_add_(1, chosen, torch.ones(200, samples))
    assert counts.max() <= draws_of_each(samples, components)
