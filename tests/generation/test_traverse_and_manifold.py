"""`mode=traverse` and `mode=manifold`: which latents are decoded."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from untrained import SMALL, Generate, digits, write_checkpoint
from vae_lightning import load
from vae_lightning.models.hierarchical import HierarchicalVAE


def known_rates(file: Path, source: Path) -> Path:
    """A copy of a checkpoint whose posterior is the same for all images: its rates are those of
    normals of variance 1 with the means 0.2, 1.5 and -0.7."""
    content = torch.load(source, weights_only=True)
    weights = content["state_dict"]
    weights["model.posterior.head.weight"].zero_()
    weights["model.posterior.head.bias"].zero_()
    weights["model.posterior.head.bias"][:3] = torch.tensor([0.2, 1.5, -0.7])
    torch.save(content, file)
    return file


@pytest.mark.parametrize("start", [0, "centre"])
def test_each_row_varies_one_dimension_the_most_used_first(
    generate: Generate,
    checkpoints: Callable[..., Path],
    drawn: list[list[Tensor]],
    tmp_path: Path,
    start: int | str,
) -> None:
    checkpoint = known_rates(tmp_path / "known.ckpt", checkpoints())
    result = generate(checkpoint, "traverse", count=3, max_dimensions=2, start=start, reach=2.0)
    assert result.facts["dimensions"] == [1, 2]
    assert result.facts["rate"] == pytest.approx([1.5**2 / 2, 0.7**2 / 2], rel=1e-4)
    assert "the 2 most used of 3 dimensions" in result.out
    model = load(checkpoint)
    for row, dimension in zip(drawn[0], [1, 2], strict=True):
        z = torch.tensor([[0.2, 1.5, -0.7]] if start == 0 else [[0.0, 0.0, 0.0]]).repeat(3, 1)
        z[:, dimension] = torch.tensor([-2.0, 0.0, 2.0])
        torch.testing.assert_close(row, model.mean_images(z))


def test_the_aggregate_posterior_can_give_the_spread(
    generate: Generate, checkpoints: Callable[..., Path], drawn: list[list[Tensor]], tmp_path: Path
) -> None:
    checkpoint = known_rates(tmp_path / "known.ckpt", checkpoints())
    generate(checkpoint, "traverse", spread="aggregate", start="centre", count=3)
    # 360 draws of normals with these means and variances of 1.
    expected = load(checkpoint).mean_images(torch.tensor([[0.2, 1.5, -0.7]]))
    assert (drawn[0][0][1] - expected[0]).abs().mean() < 0.1
    zero = load(checkpoint).mean_images(torch.zeros(1, 3))
    assert (drawn[0][0][1] - zero[0]).abs().mean() > 0.1


def test_dimensions_are_ordered_by_variance_if_the_rate_has_no_terms_per_dimension(
    generate: Generate, checkpoints: Callable[..., Path]
) -> None:
    checkpoint = checkpoints("model/prior=mixture")
    result = generate(checkpoint, "traverse")
    facts = result.facts
    variance = load(checkpoint).latent_means(digits(360)[0]).var(0, correction=0)
    assert facts["dimensions"] == variance.argsort(descending=True).tolist()
    assert facts["variance"] == pytest.approx(variance.sort(descending=True)[0].tolist(), rel=1e-3)
    assert "ordered by the variance" in result.out


def test_lower_layers_follow_a_dimension_of_an_upper_layer(
    generate: Generate, tmp_path: Path, drawn: list[list[Tensor]]
) -> None:
    layers = ("model=hierarchical", "model.latent_dims=[3,2]", "model.inner.hidden=[8]")
    small = [item for item in SMALL if "latent_dim" not in item]
    checkpoint = write_checkpoint(tmp_path / "layers.ckpt", *small, *layers, scale=4.0)
    model = load(checkpoint)
    assert isinstance(model, HierarchicalVAE)
    facts = generate(checkpoint, "traverse", count=4).facts
    assert sorted(facts["dimensions"]) == [0, 1, 2, 3, 4]
    row = drawn[0][facts["dimensions"].index(4)]
    z = model.latent_means(digits(1)[0]).repeat(4, 1)
    z[:, 4] = torch.linspace(-3, 3, 4) * model.prior_distribution().stddev[1]
    z[:, :3] = model.conditionals[0](model.above[0](z[:, 3:])).mean
    # The prior's centre and width are estimated from 5,000 draws: to 0.014 deviations, and at the
    # ends of the row, three deviations from the centre, to 0.03.
    torch.testing.assert_close(row, model.mean_images(z), atol=0.04, rtol=0)
    assert (row[0] - row[-1]).abs().max() > 0.1
    kept = model.follow(z, [1, 4])
    assert torch.equal(kept[:, [1, 3, 4]], z[:, [1, 3, 4]])


def test_the_manifold_is_at_the_quantiles_of_the_prior(
    generate: Generate, checkpoints: Callable[..., Path], drawn: list[list[Tensor]]
) -> None:
    checkpoint = checkpoints("model.latent_dim=2")
    result = generate(checkpoint, "manifold", count=3)
    assert result.facts["dimensions"] == [0, 1]
    edge = 0.967422  # the quantile of a standard normal at 5/6
    z = [[right, up] for up in (edge, 0, -edge) for right in (-edge, 0, edge)]
    expected = load(checkpoint).mean_images(torch.tensor(z))
    torch.testing.assert_close(drawn[0][0], expected, atol=1e-5, rtol=1e-4)


def test_the_two_most_used_dimensions_are_shown_and_named(
    generate: Generate, checkpoints: Callable[..., Path], drawn: list[list[Tensor]], tmp_path: Path
) -> None:
    checkpoint = known_rates(tmp_path / "known.ckpt", checkpoints())
    result = generate(checkpoint, "manifold", count=2)
    assert result.facts["dimensions"] == [1, 2]
    assert "the two most used of 3 dimensions: z1" in result.out
    assert "the others are at the prior's mean" in result.out
    edge = 0.6744898  # at 3/4
    z = torch.tensor([[0, right, up] for up in (edge, -edge) for right in (-edge, edge)])
    torch.testing.assert_close(drawn[0][0], load(checkpoint).mean_images(z), atol=1e-5, rtol=1e-4)


def test_the_manifold_of_a_conditional_model_has_one_class(
    generate: Generate, checkpoints: Callable[..., Path], drawn: list[list[Tensor]]
) -> None:
    checkpoint = checkpoints("model=conditional", "model.latent_dim=2")
    generate(checkpoint, "manifold", count=3, label=4)
    model = load(checkpoint)
    expected = model.mean_images(torch.zeros(1, 2), torch.tensor([4]))
    torch.testing.assert_close(drawn[0][0][[4]], expected)
