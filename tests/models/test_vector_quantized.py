"""The VQ-VAE: its codebook against formulas, its prior against sums over all maps."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tiny import (
    SIZE,
    SMALL_CODES,
    composed_model,
    small_codes,
    tiny_data,
    tiny_module,
    tiny_trainer,
)
from vae_lightning.checkpoint import load
from vae_lightning.config import compose, to_container
from vae_lightning.config.compatibility import check_together
from vae_lightning.distributions.codes import CodePointMass, CodePrior
from vae_lightning.metrics.decomposition import rate_decomposition
from vae_lightning.metrics.latents import latent_means, perplexity, usage
from vae_lightning.metrics.likelihood import bounds_of
from vae_lightning.models.codebook import Codebook
from vae_lightning.objectives import ELBO, ImportanceWeighted
from vae_lightning.objectives.schedules import Constant

CODES = (4, 4)


def elbo() -> ELBO:
    return ELBO(num_samples=1, beta=1.0, schedule=Constant(), free_bits=0.0)


def images(count: int = 6) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def filled_book(num_codes: int = 5, code_dim: int = 3, decay: float = 0.9) -> Codebook:
    """A codebook that is in use, in double precision."""
    torch.manual_seed(0)
    book = Codebook(num_codes, code_dim, decay, restart_below=0.1).double()
    book.counts.copy_(torch.rand(num_codes) + 2)
    book.sums.copy_(book.codes * book.counts[:, None])
    return book


# -- the codebook ---------------------------------------------------------------------------------


def test_nearest_code_is_that_of_the_smallest_distance() -> None:
    book = filled_book(num_codes=20)
    # Of different lengths, which the shortcut must not leave out.
    book.codes.mul_(torch.linspace(0.2, 3, 20)[:, None])
    vectors = 2 * torch.randn(200, 3).double()
    distances = (vectors[:, None] - book.codes[None]).square().sum(-1)
    assert torch.equal(book.nearest(vectors), distances.argmin(1))
    assert len(book.nearest(vectors).unique()) > 5


def test_codes_follow_the_running_averages_of_what_is_assigned_to_them() -> None:
    book = filled_book(decay=0.9)
    counts, sums = book.counts.clone(), book.sums.clone()
    vectors = torch.randn(7, 3).double()
    assigned = torch.tensor([0, 3, 3, 1, 0, 3, 1])
    book.follow(vectors, assigned)
    for code in range(5):
        mine = [vector for vector, to in zip(vectors, assigned.tolist(), strict=True) if to == code]
        count = 0.9 * counts[code] + 0.1 * len(mine)
        total = 0.9 * sums[code] + 0.1 * sum(mine, torch.zeros(3).double())
        torch.testing.assert_close(book.counts[code], count)
        torch.testing.assert_close(book.codes[code], total / count)


def test_codes_come_to_the_means_of_their_vectors() -> None:
    torch.manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0], [5.0, 5.0]])
    book = Codebook(4, 2, decay=0.8, restart_below=0.1)
    for _ in range(200):
        vectors = centres[torch.randint(4, (100,))] + 0.1 * torch.randn(100, 2)
        book.restart(vectors)
        book.follow(vectors, book.nearest(vectors))
    order = (book.codes @ torch.tensor([1.0, 2.0])).argsort()
    torch.testing.assert_close(book.codes[order], centres, rtol=0, atol=0.1)


def test_a_code_that_nothing_is_assigned_to_stays_finite() -> None:
    book = Codebook(3, 2, decay=0.0, restart_below=0.1)
    before = book.codes.clone()
    book.follow(torch.ones(4, 2), torch.zeros(4, dtype=torch.int64))
    torch.testing.assert_close(book.codes[1:], before[1:])
    torch.testing.assert_close(book.codes[0], torch.ones(2))


def test_all_codes_start_at_vectors_of_the_first_batch() -> None:
    torch.manual_seed(0)
    book, vectors = Codebook(5, 3, 0.9, 0.1), torch.randn(40, 3)
    book.restart(vectors)
    assert (book.codes[:, None] == vectors[None]).all(-1).any(1).all()
    # Twice the threshold of a restart; an equal share is 8 vectors.
    torch.testing.assert_close(book.counts, torch.full((5,), 2 * 0.1 * 8))
    torch.testing.assert_close(book.sums, 1.6 * book.codes)


def test_only_unused_codes_restart() -> None:
    book = filled_book()
    book.counts.copy_(torch.tensor([3.0, 0.05, 3.0, 3.0, 1.0]))
    before = book.codes.clone()
    vectors = 10 + torch.randn(40, 3).double()
    book.restart(vectors)
    assert (book.codes == before).all(1).tolist() == [True, False, True, True, True]
    assert (book.codes[1] == vectors).all(1).any()


# -- the model ------------------------------------------------------------------------------------


def test_codes_move_in_training_only() -> None:
    model, x = small_codes(), images()
    before = {name: value.clone() for name, value in model.codebook.state_dict().items()}
    model.eval()
    model(x, 1)
    model.train()
    model.infer(x, 1)
    model.reconstruct(x)
    for name, value in model.codebook.state_dict().items():
        assert torch.equal(value, before[name]), name
    model(x, 1)
    for name, value in model.codebook.state_dict().items():
        assert not torch.equal(value, before[name]), name


def test_the_decoder_takes_codes_and_its_gradient_goes_straight_to_the_encoder() -> None:
    torch.manual_seed(0)
    model = small_codes().double()
    vectors = torch.randn(2, 3, 4, 4).double().requires_grad_()
    posterior = model._quantise(vectors)
    assert torch.equal(posterior.mean, model.codebook.codes[posterior.codes].movedim(-1, 1))
    weights = torch.randn(2, 3, 4, 4).double()
    (gradient,) = torch.autograd.grad((weights * posterior.mean.square()).sum(), vectors)
    torch.testing.assert_close(gradient, 2 * weights * posterior.mean.detach())


def test_commitment_is_the_weighted_squared_distance_to_the_codes() -> None:
    model = small_codes("model.commitment=0.7").double().eval()
    trace = model(images().double(), 2)
    vectors = model._vectors(images().double())
    codes = model.codebook.codes[trace.latents[0].z[0]].movedim(-1, 1)
    expected = 0.7 * (vectors - codes).square().flatten(1).sum(1)
    assert set(trace.auxiliary) == {"commitment"}
    torch.testing.assert_close(trace.auxiliary["commitment"], expected)


def test_commitment_in_training_is_to_the_codes_before_they_move(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    model, x = small_codes("model.commitment=0.7", "model.decay=0.1").double(), images().double()
    model(x, 1)  # the first batch restarts all codes
    before: list[Tensor] = []
    follow = model.codebook.follow

    def watched(vectors: Tensor, assigned: Tensor) -> None:
        before.append(model.codebook.codes.clone())
        follow(vectors, assigned)

    monkeypatch.setattr(model.codebook, "follow", watched)
    trace = model(x, 1)
    (codes,) = before
    assert not torch.equal(codes, model.codebook.codes)
    vectors = model._vectors(x)
    chosen = codes[trace.latents[0].z[0]].movedim(-1, 1)
    expected = 0.7 * (vectors - chosen).square().flatten(1).sum(1)
    torch.testing.assert_close(trace.auxiliary["commitment"], expected)
    torch.testing.assert_close(trace.latents[0].posterior.mean, chosen)
    weights = [*model.encoder.parameters()]
    for ours, theirs in zip(
        torch.autograd.grad(trace.auxiliary["commitment"].sum(), weights),
        torch.autograd.grad(expected.sum(), weights),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_the_rate_trains_the_prior_and_nothing_else() -> None:
    torch.manual_seed(0)
    model = small_codes()
    model(images(), 1).rate.mean().backward()
    touched = {name for name, value in model.named_parameters() if value.grad is not None}
    assert touched == {f"prior.{name}" for name, _ in model.prior.named_parameters()}


@pytest.mark.parametrize("encoder", ["conv", "resnet"])
@pytest.mark.parametrize("decoder", ["conv", "resnet", "mlp"])
def test_the_loss_reaches_every_parameter(encoder: str, decoder: str) -> None:
    torch.manual_seed(0)
    overrides = [f"model/encoder={encoder}", f"model/decoder={decoder}"]
    if "resnet" in (encoder, decoder):
        overrides += [
            f"model.{part}.norm_groups=2"
            for part, name in (("encoder", encoder), ("decoder", decoder))
            if name == "resnet"
        ]
    if decoder == "mlp":
        small = [item for item in SMALL_CODES if "decoder" not in item]
        model = composed_model(*small, *overrides)
    else:
        model = small_codes(*overrides)
    loss, parts = elbo()(model(images(), 1), 0)
    assert set(parts) == {"commitment"}
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_trace_repeats_the_point_mass_for_each_sample() -> None:
    model = small_codes().eval()
    trace = model(images(), 3)
    (latent,) = trace.latents
    assert latent.z.shape == (3, 6, *CODES)
    assert latent.z.dtype == torch.int64
    assert torch.equal(latent.z[0], latent.z[2])
    assert (latent.log_q == 0).all()
    assert trace.elbo.shape == trace.log_weight.shape == (3, 6)
    # Known in closed form, and the same as what the samples say.
    torch.testing.assert_close(latent.rate, latent.log_q - latent.log_p)
    torch.testing.assert_close(trace.log_weight, trace.elbo)
    assert latent.mean.shape == (6, 3, *CODES)


def test_point_mass_gives_other_codes_no_probability() -> None:
    codes = torch.tensor([[[0, 1]], [[1, 1]]])
    posterior = CodePointMass(codes, torch.zeros(2, 3, 1, 2), torch.zeros(2))
    assert posterior.batch_shape == (2,)
    assert posterior.event_shape == (1, 2)
    others = torch.cartesian_prod(torch.arange(2), torch.arange(2)).reshape(4, 1, 1, 2)
    mass = posterior.log_prob(others).exp()  # (4, B)
    assert mass.sum(0).tolist() == [1.0, 1.0]
    assert posterior.log_prob(codes).tolist() == [0.0, 0.0]


def test_reconstructions_and_samples_are_pictures() -> None:
    torch.manual_seed(0)
    model = small_codes().eval()
    assert model.reconstruct(images()).shape == (6, 1, 8, 8)
    torch.testing.assert_close(model.reconstruct(images()), model(images(), 1).likelihood.mean[0])
    assert model.sample(5, torch.zeros(5, dtype=torch.int64)).shape == (5, 1, 8, 8)


def test_an_encoder_without_maps_is_refused() -> None:
    small = [item for item in SMALL_CODES if "encoder" not in item]
    with pytest.raises(Exception, match="MLPEncoder returns no maps to quantise: choose"):
        composed_model(*small, "model/encoder=mlp")


@pytest.mark.parametrize(
    "value",
    ["num_codes=0", "code_dim=0", "commitment=-1.0", "decay=1.0", "restart_below=-0.1"],
)
def test_values_out_of_range_are_refused(value: str) -> None:
    with pytest.raises(Exception, match=f"{value} is out of range"):
        small_codes(f"model.{value}")


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(Exception, match="heads=3 does not divide width=8"):
        small_codes("model.prior.heads=3")


# -- the prior over codes -------------------------------------------------------------------------


def tiny_prior(num_codes: int = 3, layers: int = 2) -> CodePrior:
    torch.manual_seed(0)
    prior = CodePrior(num_codes, (2, 2), width=8, heads=2, layers=layers).double()
    for parameter in prior.parameters():  # far from uniform
        nn.init.normal_(parameter, std=0.7)
    return prior


def all_maps(num_codes: int) -> Tensor:
    return torch.cartesian_prod(*[torch.arange(num_codes)] * 4).reshape(-1, 2, 2)


def test_probabilities_of_all_maps_sum_to_one() -> None:
    with torch.no_grad():
        log_prob = tiny_prior().distribution().log_prob(all_maps(3))
    assert log_prob.shape == (81,)
    assert log_prob.std() > 0.5
    assert log_prob.exp().sum().item() == pytest.approx(1.0, abs=1e-12)


def test_a_later_code_does_not_change_what_is_predicted_before() -> None:
    prior = tiny_prior()
    codes = torch.tensor([[0, 2, 1, 0]])
    logits = prior(codes)
    for index in range(4):
        changed = codes.clone()
        changed[0, index] = (codes[0, index] + 1) % 3
        same = (prior(changed) - logits).abs().amax((0, 2)) < 1e-12
        # A code does not change its own prediction; it changes those after it.
        assert same.tolist() == [at <= index for at in range(4)]


def test_prior_with_uniform_logits_costs_the_logarithm_of_the_codes_at_each_position() -> None:
    model = small_codes().double().eval()
    nn.init.zeros_(model.prior.head[1].weight)
    nn.init.zeros_(model.prior.head[1].bias)
    rate = model(images().double(), 2).rate
    torch.testing.assert_close(rate, torch.full((2, 6), 4 * 4 * math.log(8)).double())


def test_samples_are_codes_as_often_as_the_prior_says() -> None:
    prior, maps = tiny_prior(num_codes=2), all_maps(2)
    torch.manual_seed(0)
    samples = prior.distribution().sample((200, 100))
    assert samples.shape == (200, 100, 2, 2)
    assert samples.dtype == torch.int64
    assert samples.min() == 0
    assert samples.max() == 1
    hits = (samples.flatten(0, 1)[:, None] == maps[None]).flatten(2).all(-1)
    frequency = hits.double().mean(0)
    with torch.no_grad():
        probability = prior.distribution().log_prob(maps).exp()
    assert probability.max() > 3 * probability.median()
    error = (probability * (1 - probability) / 20_000).sqrt()
    assert ((frequency - probability).abs() < 5 * error + 1e-9).all()


def test_log_probabilities_do_not_depend_on_how_many_are_scored_together() -> None:
    prior = tiny_prior().distribution()
    maps = all_maps(3).repeat(8, 1, 1).unflatten(0, (2, -1))  # 648, more than a part
    with torch.no_grad():
        parts = prior.log_prob(maps)
    torch.testing.assert_close(parts, prior.log_prob(maps).detach())


# -- around the model -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "objective", [elbo(), ImportanceWeighted(3, "standard", 1, None, 0.0, Constant())]
)
def test_objectives_take_it_as_they_take_any_model(objective: Any) -> None:
    check_together(small_codes(), objective)


def test_importance_weighted_bound_is_the_elbo() -> None:
    model = small_codes().eval()
    nll, bound, rate, distortion = bounds_of(model, images(1), 4).tolist()
    assert nll == pytest.approx(-bound, rel=1e-5)
    assert bound == pytest.approx(-rate - distortion, rel=1e-5)


def test_metrics_of_latents_take_it() -> None:
    torch.manual_seed(0)
    model = small_codes()
    model(images(50), 1)
    model.eval()
    scores = usage(model, images(50), None)
    assert set(scores) == {"active_units", "codebook_perplexity"}
    assert latent_means(model, images(50), None).shape == (50, 3 * 4 * 4)
    split = rate_decomposition(model, images(50), None, seed=0)
    # Every image has codes of its own, so the mutual information is at its bound.
    assert len(model.encode(images(50)).codes.flatten(1).unique(dim=0)) == 50
    assert split["mutual_information"] == pytest.approx(math.log(50), rel=1e-5)
    rate = model(images(50), 1).rate.mean().item()
    assert split["sampled_rate"] == pytest.approx(rate, rel=1e-4)


def test_it_trains_and_a_saved_model_loads(tmp_path: Path) -> None:
    overrides = (*SMALL_CODES, f"data.size={SIZE}", "model.decoder.channels=[8]")
    model: Any = composed_model(*overrides)
    config = {"model": to_container(compose("train", overrides).model)}
    module = tiny_module(model, lr=1e-3, config=config)
    trainer = tiny_trainer(tmp_path, max_epochs=3)
    before = model.codebook.codes.clone()
    trainer.fit(module, tiny_data(num_classes=3))
    assert not torch.equal(model.codebook.codes, before)
    assert trainer.callback_metrics["val/elbo"].isfinite()
    path = tmp_path / "model.ckpt"
    trainer.save_checkpoint(path)
    loaded = load(path)
    x = torch.rand(3, 1, SIZE, SIZE)
    model.eval()
    torch.testing.assert_close(loaded.reconstruct(x), model.reconstruct(x), rtol=0, atol=0)
    torch.testing.assert_close(loaded(x, 1).elbo, model(x, 1).elbo, rtol=0, atol=0)
    torch.manual_seed(0)
    pictures = model.sample(4)
    torch.manual_seed(0)
    torch.testing.assert_close(loaded.sample(4), pictures, rtol=0, atol=0)


def test_more_steps_explain_the_images_better() -> None:
    torch.manual_seed(0)
    model, x = small_codes(), (images(30) > 0.5).float()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    bounds = []
    for step in range(80):
        trace = model(x, 1)
        loss, _ = elbo()(trace, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        bounds.append(trace.elbo.mean().item())
    assert bounds[-1] > bounds[0] + 10


def test_perplexity_is_the_number_of_codes_that_are_used_equally() -> None:
    assert perplexity(torch.tensor([[7, 7], [7, 7]])) == pytest.approx(1)
    assert perplexity(torch.tensor([[0, 2], [5, 7]])) == pytest.approx(4)
    half = math.exp(0.5 * math.log(2) + 0.5 * math.log(4))
    assert perplexity(torch.tensor([0, 0, 1, 2])) == pytest.approx(half)


def test_usage_of_codes_has_the_perplexity_of_all_images_together() -> None:
    model = small_codes().eval()
    codes = model.encode(images(50)).codes
    assert usage(model, images(50), None)["codebook_perplexity"] == perplexity(codes)
