"""Learned priors: compared with integrals, torch and the posteriors that they mix."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Beta,
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    Normal,
)

from euclidean_options import (
    POSTERIORS,
    PRIORS,
    check_density_and_samples,
    shaken,
    small_model,
    some_images,
)
from tiny import composed_model, tiny_data, tiny_module, tiny_trainer
from vae_lightning.distributions.flows import FlowDistribution
from vae_lightning.distributions.normal_mixture import NormalMixture
from vae_lightning.distributions.priors.flow import FlowPrior
from vae_lightning.distributions.priors.mixture import Mixture
from vae_lightning.distributions.priors.vamp import Vamp
from vae_lightning.errors import ConfigError
from vae_lightning.objectives import ELBO
from vae_lightning.objectives.schedules import Constant


def encode_nothing(_: Tensor) -> Distribution:
    raise AssertionError("only a mixture of posteriors encodes images")


def some_mixture(
    dtype: torch.dtype, scale: float, components: int = 7, dims: int = 5
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-weights, means around 3 and scales around `scale`."""
    generator = torch.Generator().manual_seed(1)
    logits, means, spread = (
        torch.randn(shape, generator=generator)
        for shape in [(components,), (components, dims), (components, dims)]
    )
    values = (logits.log_softmax(0), 3 + 2 * means, scale * (0.3 * spread).exp())
    a, b, c = (value.to(dtype).requires_grad_() for value in values)
    return a, b, c


def torch_mixture(log_weights: Tensor, means: Tensor, scales: Tensor) -> MixtureSameFamily:
    return MixtureSameFamily(Categorical(logits=log_weights), Independent(Normal(means, scales), 1))


# -- mixtures of normals --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1.0, 30.0])
def test_mixture_agrees_with_torch_in_value_and_gradient(dtype: torch.dtype, scale: float) -> None:
    parts = some_mixture(dtype, scale)
    exact = [part.detach().double().requires_grad_() for part in parts]
    torch.manual_seed(0)
    # Some near a component, by its own scale, and some anywhere.
    near = parts[1].detach().repeat(6, 1) + scale * torch.randn(42, 5, dtype=dtype)
    value = torch.cat([near, 4 * torch.randn(42, 5, dtype=dtype)]).reshape(2, 42, 5)
    z, exact_z = value.clone().requires_grad_(), value.double().requires_grad_()
    log_weights, means, scales = parts
    # Torch takes weights of any sum; its gradient is that of weights which are made to sum to 1.
    ours = NormalMixture(log_weights.log_softmax(0), means, scales).log_prob(z)
    reference = torch_mixture(*exact).log_prob(exact_z)
    assert ours.dtype == dtype
    assert ours.shape == (2, 42)
    # Nothing is lost but the rounding of the result, and of the doubles' product (3 / scale)^2.
    loss = 1e-14 * (10 / scale) ** 2
    torch.testing.assert_close(
        ours.double(), reference, rtol=2 * torch.finfo(dtype).eps, atol=loss + 1e-12
    )
    weights = torch.randn(2, 42, dtype=dtype)
    gradients = torch.autograd.grad((weights * ours).sum(), (z, *parts))
    expected = torch.autograd.grad((weights.double() * reference).sum(), (exact_z, *exact))
    for gradient, true in zip(gradients, expected, strict=True):
        tolerance = max(20 * torch.finfo(dtype).eps, 1e-10) * true.abs().max().item()
        torch.testing.assert_close(gradient.double(), true, rtol=0, atol=tolerance + 1e-9)


def test_density_of_a_mixture_integrates_to_one_and_samples_follow_it() -> None:
    log_weights = torch.tensor([0.6, 0.3, 0.1]).double().log()
    means = torch.tensor([[0.0, 0.0], [3.0, -2.0], [-4.0, 4.0]]).double()
    scales = torch.tensor([[1.0, 0.5], [0.3, 2.0], [0.2, 0.4]]).double()
    mixture = NormalMixture(log_weights, means, scales)
    check_density_and_samples(mixture)
    torch.testing.assert_close(mixture.mean, torch_mixture(log_weights, means, scales).mean)


def test_samples_come_from_every_component_by_weight_with_its_standard_deviation() -> None:
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4])
    means = 100 * torch.arange(4.0)[:, None].expand(4, 2)
    scales = torch.tensor([[0.1, 0.5], [2.0, 3.0], [0.5, 0.1], [4.0, 0.2]])
    torch.manual_seed(0)
    samples = NormalMixture(weights.log(), means, scales).sample((200, 100))
    assert samples.shape == (200, 100, 2)
    samples = samples.flatten(0, 1)
    chosen = (samples[:, 0] / 100).round().long()
    for component in range(4):
        own = samples[chosen == component]
        # Five standard errors.
        assert abs(len(own) / 20_000 - weights[component]) < 5 * (0.25 / 20_000) ** 0.5
        torch.testing.assert_close(own.std(0), scales[component], rtol=0.1, atol=0)
        torch.testing.assert_close(own.mean(0), means[component], rtol=0, atol=0.5)


def test_one_sample_of_a_mixture_has_the_shape_of_an_event() -> None:
    mixture = NormalMixture(torch.zeros(1), torch.zeros(1, 3), torch.ones(1, 3))
    assert mixture.sample().shape == (3,)


def test_learned_mixture_starts_with_equal_weights_and_spread_means() -> None:
    torch.manual_seed(0)
    prior = Mixture(latent_dim=20, num_components=50, spread=2.0)
    mixture = prior(encode_nothing)
    assert isinstance(mixture, NormalMixture)
    assert mixture.log_weights.exp().tolist() == pytest.approx([0.02] * 50)
    assert mixture.means.std().item() == pytest.approx(2.0, rel=0.1)
    assert (mixture.scales == 1).all()


def test_learned_mixture_converges_to_the_moments_of_its_data() -> None:
    torch.manual_seed(0)
    left, right = 0.5 * torch.randn(300, 1) - 2, 0.3 * torch.randn(100, 1) + 1
    target = torch.cat([left, right])
    prior = Mixture(latent_dim=1, num_components=2, spread=1.0)
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        (-prior(encode_nothing).log_prob(target).mean()).backward()
        optimizer.step()
    mixture = prior(encode_nothing)
    assert isinstance(mixture, NormalMixture)
    order = mixture.means[:, 0].argsort()
    assert mixture.log_weights.exp()[order].tolist() == pytest.approx([0.75, 0.25], abs=0.01)
    centres, spreads = [left.mean(), right.mean()], [left.std(), right.std()]
    torch.testing.assert_close(mixture.means[order, 0], torch.stack(centres), rtol=0, atol=0.02)
    torch.testing.assert_close(mixture.scales[order, 0], torch.stack(spreads), rtol=0.03, atol=0)


# -- VampPrior ------------------------------------------------------------------------------------


def vamp_of(components: int, start_at_images: bool = False) -> Vamp:
    torch.manual_seed(0)
    prior = Vamp(2, (1, 4, 4), num_components=components, start_at_images=start_at_images)
    return shaken(prior, by=2.0).double()


def by_hand(prior: Vamp, encode: Callable[[Tensor], Distribution], z: Tensor) -> Tensor:
    """Log of the mean of the posteriors' densities, one image after the other."""
    each = [encode(image.unsqueeze(0)).log_prob(z.unsqueeze(-2)) for image in prior.pseudo_inputs]
    return torch.stack(each).logsumexp(0).squeeze(-1) - torch.tensor(float(len(each))).log()


def beta_posterior(x: Tensor) -> Distribution:
    return Independent(Beta(1 + x.flatten(1)[:, :3], 2.0), 1)


@pytest.mark.parametrize("posterior", POSTERIORS)
def test_vamp_of_one_image_is_its_posterior(posterior: str) -> None:
    model = small_model(posterior, "standard_normal")
    prior = vamp_of(1)
    z = torch.randn(3, 5, 2).double()
    expected = model.encode(prior.pseudo_inputs).log_prob(z.unsqueeze(-2)).squeeze(-1)
    torch.testing.assert_close(prior(model.encode).log_prob(z), expected)


@pytest.mark.parametrize("posterior", [*POSTERIORS, "beta"])
def test_vamp_is_the_mean_of_the_posteriors_of_its_images(posterior: str) -> None:
    encode = beta_posterior
    if posterior != "beta":
        encode = small_model(posterior, "standard_normal").encode
    prior = vamp_of(6)
    mixture = prior(encode)
    torch.manual_seed(0)
    z = mixture.sample((4, 5))
    assert z.shape == (4, 5, 3 if posterior == "beta" else 2)
    assert not z.requires_grad
    torch.testing.assert_close(mixture.log_prob(z), by_hand(prior, encode, z))
    assert isinstance(mixture, NormalMixture) is (posterior == "diagonal_normal")


@pytest.mark.parametrize(
    ("posterior", "components", "count"),
    [
        ("flow", 11, 1),
        ("flow", 10, 0),
        ("diagonal_normal", 11, 0),
    ],
)
def test_many_components_of_a_flow_posterior_raise_a_warning(
    recwarn: pytest.WarningsRecorder, posterior: str, components: int, count: int
) -> None:
    model = small_model(posterior, "vamp", 2, f"model.prior.num_components={components}")
    model(some_images(), 1)
    messages = [str(item.message) for item in recwarn if "num_components=11" in str(item.message)]
    assert len(messages) == count


@pytest.mark.parametrize(("posterior", "components"), [("flow", 10), ("diagonal_normal", 500)])
def test_the_default_number_of_pseudo_inputs_is_small_for_a_flow_posterior(
    posterior: str, components: int
) -> None:
    model = composed_model("model/prior=vamp", f"model/posterior={posterior}", "data.size=4")
    assert isinstance(model.prior, Vamp)
    assert len(model.prior.pseudo_inputs) == components


def test_pseudo_inputs_stay_between_black_and_white_and_keep_a_gradient() -> None:
    prior = vamp_of(3)
    with torch.no_grad():
        prior.logits.mul_(3)
    assert 0 < prior.pseudo_inputs.min() < prior.pseudo_inputs.max() < 1
    model = small_model("diagonal_normal", "standard_normal")
    prior(model.encode).log_prob(torch.randn(5, 2).double()).sum().backward()
    assert prior.logits.grad is not None
    assert (prior.logits.grad != 0).all()


def test_pseudo_inputs_start_as_training_images_or_as_a_dark_grey() -> None:
    data = tiny_data(num_classes=3)
    data.setup("fit")
    images, _ = data.images("train", 5)
    from_images = Vamp(2, (1, 4, 4), num_components=5, start_at_images=True)
    from_images.initialize_from(data)
    torch.testing.assert_close(from_images.pseudo_inputs, images, rtol=0, atol=0.0101)
    grey = Vamp(2, (1, 4, 4), num_components=5, start_at_images=False)
    grey.initialize_from(data)
    assert 0.05 < grey.pseudo_inputs.min() < grey.pseudo_inputs.max() < 0.25


def test_pseudo_inputs_beyond_the_training_images_keep_their_initial_noise() -> None:
    data = tiny_data(num_classes=3)  # 18 images to train on
    data.setup("fit")
    prior = Vamp(2, (1, 4, 4), num_components=20, start_at_images=True)
    before = prior.pseudo_inputs[18:].clone()
    prior.initialize_from(data)
    assert torch.equal(prior.pseudo_inputs[18:], before)
    torch.testing.assert_close(
        prior.pseudo_inputs[:18], data.images("train", 18)[0], atol=0.0101, rtol=0
    )


def test_training_begins_at_the_images_and_moves_them(tmp_path: Path) -> None:
    more = ("data.size=4", "model/prior=vamp", "model.encoder.hidden=[8]")
    for lr in (0.0, 0.1):
        model = composed_model(*more, "model.prior.num_components=5")
        data = tiny_data(num_classes=3)
        tiny_trainer(tmp_path, max_epochs=1).fit(tiny_module(model, lr=lr), data)
        assert isinstance(model.prior, Vamp)
        start, _ = data.images("train", 5)
        logits = torch.logit(start, eps=0.01)
        assert torch.allclose(model.prior.logits, logits, atol=1e-6) is (lr == 0.0)


# -- flow -----------------------------------------------------------------------------------------


def test_density_of_the_flow_integrates_to_one_and_samples_follow_it() -> None:
    torch.manual_seed(0)
    prior = shaken(FlowPrior(2, transforms=2, hidden=[8], bins=5)).double()
    check_density_and_samples(prior(encode_nothing))


def test_flow_is_far_from_normal_when_shaken_and_near_it_at_the_start() -> None:
    torch.manual_seed(0)
    prior = FlowPrior(3, transforms=3, hidden=[16, 16], bins=8).double()
    z = torch.randn(500, 3).double()
    normal = prior.base(encode_nothing).log_prob(z)
    assert (prior(encode_nothing).log_prob(z) - normal).abs().max() < 0.1
    assert (shaken(prior)(encode_nothing).log_prob(z) - normal).abs().max() > 1


def test_a_density_of_the_flow_takes_one_pass_through_each_step() -> None:
    prior = FlowPrior(6, transforms=2, hidden=[8], bins=4)
    passes: list[int] = []
    for step in prior.transform.transforms:
        step.hyper[1].register_forward_hook(lambda *_: passes.append(1))
    prior(encode_nothing).log_prob(torch.randn(3, 6))
    assert len(passes) == 2


@pytest.mark.parametrize("latent_dim", [1, 2, 5])
def test_the_flow_is_that_of_zuko_in_both_directions(latent_dim: int) -> None:
    torch.manual_seed(0)
    prior = shaken(FlowPrior(latent_dim, transforms=3, hidden=[8, 8], bins=4)).double()
    ours, theirs = prior(encode_nothing), prior.transform().inv
    assert isinstance(ours, FlowDistribution)
    inverse: Any = ours.transform.inv
    points = 2 * torch.randn(4, 3, latent_dim).double()
    torch.testing.assert_close(ours.transform(points), theirs(points))
    torch.testing.assert_close(inverse.call_and_ladj(points), theirs.inv.call_and_ladj(points))
    log_prob = ours.log_prob(points)
    assert log_prob.shape == (4, 3)
    with torch.no_grad():
        torch.testing.assert_close(ours.log_prob(points), log_prob)


def test_a_sample_of_the_flow_computes_each_spline_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import zuko.transforms

    prior = FlowPrior(6, transforms=2, hidden=[8], bins=4)
    splines: list[int] = []
    spline = zuko.transforms.MonotonicRQSTransform

    class Counted(spline):  # type: ignore[misc, valid-type]
        def __init__(self, widths: Tensor, *others: Tensor) -> None:
            super().__init__(widths, *others)
            splines.append(widths[..., 0].numel())

    for step in prior.transform.transforms:
        monkeypatch.setattr(step, "univariate", Counted)
    prior(encode_nothing).sample(torch.Size([10]))
    assert sum(splines) == 10 * 6 * 2


def test_flow_leaves_the_checks_of_other_distributions_on() -> None:
    FlowPrior(2, transforms=1, hidden=[4], bins=3)
    with pytest.raises(ValueError, match="scale"):
        Normal(0.0, -1.0)


# -- every posterior with every prior -------------------------------------------------------------

# Every option has one latent dimension in some combinations and two in others.
DIMENSIONS = {
    (posterior, prior): 1 + (row + column) % 2
    for row, posterior in enumerate(POSTERIORS)
    for column, prior in enumerate(PRIORS)
}


@pytest.mark.parametrize(("posterior", "prior"), DIMENSIONS)
def test_every_parameter_of_every_combination_gets_a_finite_gradient(
    posterior: str, prior: str
) -> None:
    torch.manual_seed(0)
    model = small_model(posterior, prior, DIMENSIONS[posterior, prior])
    trace = model(some_images(), 3)
    assert trace.rate.shape == trace.log_weight.shape == (3, 4)
    loss, _ = ELBO(num_samples=3, beta=1.0, schedule=Constant(), free_bits=0.0)(trace, 0)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name
    assert model.sample(5).shape == (5, 1, 4, 4)
    assert model.reconstruct(some_images()).shape == (4, 1, 4, 4)


@pytest.mark.parametrize(("posterior", "prior"), DIMENSIONS)
def test_rate_of_every_combination_is_the_mean_of_log_q_less_log_p(
    posterior: str, prior: str
) -> None:
    torch.manual_seed(0)
    model = small_model(posterior, prior)
    closed_form = prior == "standard_normal" and posterior != "flow"
    count = 5_000 if closed_form else 50
    with torch.no_grad():
        (latent,) = model.infer(some_images(), count)
        # A density that was returned with the samples must be that of the samples.
        ratio = latent.posterior.log_prob(latent.z) - latent.prior.log_prob(latent.z)
    if closed_form:
        assert (latent.rate == latent.rate[0]).all()
        error = 5 * ratio.std(0) / count**0.5
        assert ((latent.rate[0] - ratio.mean(0)).abs() < error).all()
    else:
        torch.testing.assert_close(latent.rate, ratio, rtol=0, atol=1e-8)
    torch.testing.assert_close(latent.log_q - latent.log_p, ratio, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("posterior", "prior"), [*zip(POSTERIORS, PRIORS, strict=False), ("diagonal_normal", "flow")]
)
def test_a_model_is_the_same_after_saving_and_loading(posterior: str, prior: str) -> None:
    model = small_model(posterior, prior)
    other = shaken(small_model(posterior, prior), by=0.5)
    x = some_images()

    def elbo(of: torch.nn.Module) -> Tensor:
        torch.manual_seed(0)
        return of(x, 2).elbo

    assert not torch.allclose(elbo(other), elbo(model))
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(elbo(other), elbo(model), rtol=0, atol=0)


@pytest.mark.parametrize("prior", PRIORS)
def test_latents_are_samples_of_the_prior(prior: str) -> None:
    model = small_model("diagonal_normal", prior)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(2)
        expected = model.prior_distribution().sample(torch.Size((50,)))
        torch.manual_seed(2)
        assert torch.equal(model.sample_latents(50), expected)


@pytest.mark.parametrize("prior", ["mixture", "vamp"])
def test_a_prior_without_components_is_refused(prior: str) -> None:
    with pytest.raises(ConfigError, match=r"model\.prior\.num_components=0 is out of range"):
        composed_model(
            "paths.run_dir=unused", f"model/prior={prior}", "model.prior.num_components=0"
        )
