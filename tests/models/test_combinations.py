"""Every posterior with every prior, likelihood and objective: a step, a save, a load, samples."""

from typing import Any

import pytest
import torch
from torch import Tensor

from option_grid import PAIRS, model_of, objective_of
from tiny import options
from vae_lightning.models import VAE

# What has no meaning, and is refused with what would do: all else has to work.
FACTORISED = {("diagonal_normal", "standard_normal")}
UNLEARNED = {"standard_normal", "uniform_sphere", "uniform_categorical"}
REFUSED = {
    (posterior, prior, objective)
    for posterior, prior in PAIRS
    for objective in options("objective")
    if (objective == "total_correlation" and (posterior, prior) not in FACTORISED)
    or (objective == "autoencoder" and (posterior != "deterministic" or prior not in UNLEARNED))
    or (objective in ("mmd", "capacity") and prior not in UNLEARNED)
    or (objective == "moment_matching" and posterior == "flow")
    or (posterior == "deterministic" and objective not in ("autoencoder", "mmd"))
}


@pytest.mark.parametrize("objective_name", options("objective"))
@pytest.mark.parametrize(("posterior", "prior"), PAIRS)
def test_a_combination_trains_saves_loads_and_samples(
    posterior: str, prior: str, objective_name: str
) -> None:
    torch.manual_seed(0)
    x = torch.rand(5, 1, 4, 4)
    for likelihood in options("model/likelihood"):
        model = model_of(posterior, prior, likelihood)
        objective = objective_of(objective_name)
        loss, error = None, None
        try:
            loss, _ = objective(model(x, objective.num_samples), 1000)
        except ValueError as refusal:
            error = str(refusal)
        if error is not None:
            assert "choose" in error, error
            assert (posterior, prior, objective_name) in REFUSED
            return
        assert loss is not None
        assert loss.isfinite()
        loss.backward()
        for name, parameter in model.named_parameters():
            gradient = parameter.grad
            assert gradient is not None, f"{name} with {likelihood}"
            assert gradient.isfinite().all(), f"{name} with {likelihood}"
        torch.optim.SGD(model.parameters(), lr=1e-3).step()
        again = model_of(posterior, prior, likelihood)
        again.load_state_dict(model.state_dict())
        assert torch.equal(sampled(again), sampled(model))
        assert sampled(model).shape == (3, 1, 4, 4)
        assert sampled(model).isfinite().all()


def sampled(model: VAE) -> Tensor:
    torch.manual_seed(1)
    return model.eval().sample(3)


@pytest.mark.parametrize("prior", ["standard_normal", "mixture"])
@pytest.mark.parametrize("likelihood", options("model/likelihood"))
def test_terms_of_a_model_in_half_precision_are_sums_in_float32(
    prior: str, likelihood: str
) -> None:
    torch.manual_seed(0)
    model = model_of("diagonal_normal", prior, likelihood).bfloat16().eval()
    with torch.no_grad():
        trace = model(torch.rand(3, 1, 4, 4).bfloat16(), 2)
        terms = (trace.elbo, trace.rate, trace.distortion, trace.log_weight)
        assert {term.dtype for term in terms} == {torch.float32}
        torch.testing.assert_close(trace.elbo, -trace.distortion - trace.rate, rtol=0, atol=1e-5)
        if prior == "standard_normal":
            q: Any = trace.latents[0].posterior.base_dist
            mean, scale = q.loc.float(), q.scale.float()
            exact = (0.5 * (mean**2 + scale**2 - 1) - scale.log()).sum(-1)
            torch.testing.assert_close(trace.rate[0], exact, rtol=0, atol=0.02)
