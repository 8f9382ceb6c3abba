"""Optimisers of the project's own."""

import pytest
import torch

from vae_lightning.config import compose, instantiate, to_container
from vae_lightning.errors import ConfigError
from vae_lightning.training.optimizers import AdamNormGrad


def trained(scale: float, fused: bool) -> list[torch.Tensor]:
    """Two tensors after three steps down a bowl of the given scale."""
    weights = [torch.full((3,), 2.0, requires_grad=True), torch.ones(2, 2, requires_grad=True)]
    optimizer = AdamNormGrad(weights, lr=0.1, fused=fused)
    for _ in range(3):
        optimizer.zero_grad()
        loss = scale * (weights[0].square().sum() + 100 * (weights[1] - 3).pow(4).sum())
        loss.backward()
        optimizer.step()
    return [weight.detach() for weight in weights]


@pytest.mark.parametrize("fused", [False, True])
def test_steps_are_those_of_adam_on_gradients_of_length_one(fused: bool) -> None:
    expected = [torch.full((3,), 2.0), torch.ones(2, 2)]
    first, second = [torch.zeros(3), torch.zeros(2, 2)], [torch.zeros(3), torch.zeros(2, 2)]
    for step in range(1, 4):
        gradients = [2 * expected[0], 400 * (expected[1] - 3) ** 3]
        for i, gradient in enumerate(gradients):
            unit = gradient / gradient.norm()
            first[i] = 0.9 * first[i] + 0.1 * unit
            second[i] = 0.999 * second[i] + 0.001 * unit**2
            mean, square = first[i] / (1 - 0.9**step), second[i] / (1 - 0.999**step)
            expected[i] = expected[i] - 0.1 * mean / (square.sqrt() + 1e-8)
    for weight, known in zip(trained(1.0, fused), expected, strict=True):
        torch.testing.assert_close(weight, known, rtol=1e-5, atol=1e-6)


def test_steps_do_not_depend_on_the_scale_of_the_loss() -> None:
    for weight, other in zip(trained(1.0, False), trained(1e4, False), strict=True):
        torch.testing.assert_close(weight, other, rtol=1e-4, atol=1e-6)


def test_a_loss_that_is_scaled_for_half_precision_makes_the_same_step() -> None:
    stepped = []
    for scale in (1.0, 2.0**16):
        weight = torch.tensor([3.0, 4.0], requires_grad=True)
        optimizer = AdamNormGrad([weight], lr=0.1, eps=1e-4, fused=True)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        scaler.scale(weight.square().sum()).backward()
        scaler.step(optimizer)
        stepped.append(weight.detach())
    torch.testing.assert_close(stepped[0], stepped[1], rtol=1e-6, atol=0)


def test_a_closure_is_run_with_gradients_and_its_loss_returned() -> None:
    weight = torch.ones(2, requires_grad=True)
    optimizer = AdamNormGrad([weight, torch.ones(1, requires_grad=True)], lr=0.1)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 2
    assert (weight < 1).all()


def test_it_is_chosen_by_name_and_an_unknown_option_is_refused() -> None:
    config = to_container(compose("train", ["optimizer=adam_normgrad", "paths.run_dir=unused"]))
    optimizer = instantiate(config["optimizer"], "optimizer")([torch.ones(1, requires_grad=True)])
    assert type(optimizer) is AdamNormGrad
    with pytest.raises(ConfigError, match=r"optimizer\.lrr is not an option .* did you mean lr\?"):
        instantiate({**config["optimizer"], "lrr": 1}, "optimizer")
