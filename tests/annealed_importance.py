r"""Annealed importance sampling: an estimate of log p(x) that uses no encoder.

The `nll` draws from the posterior network, so it is loose where that network is wrong. Here a chain
starts at the prior and moves through distributions that end at the true posterior:

.. math:: \pi_t(z) \propto p(z) \, p(x|z)^{\beta_t}, \quad 0 = \beta_0 < \dots < \beta_T = 1, \qquad
          \log w = \sum_{t=1}^T (\beta_t - \beta_{t-1}) \log p(x|z_{t-1})

where z_0 is drawn from the prior, and z_t from z_{t-1} by a Hamiltonian Monte Carlo transition that
leaves \pi_t invariant. The expectation of w is p(x). So the log of a mean over chains is, in
expectation, at most log p(x), and approaches it with more temperatures and more chains.

    python tests/annealed_importance.py outputs/train/runs/<run> --images 20 --temperatures 500 2000

compares it with the nll of the same test images.

References:
    Neal, "Annealed Importance Sampling", 2001, https://arxiv.org/abs/physics/9803008.
    Wu, Burda, Salakhutdinov and Grosse, "On the Quantitative Analysis of Decoder-Based Generative
    Models", 2017, https://arxiv.org/abs/1611.04273.
"""

import argparse
import math
import time
from typing import NamedTuple

import torch
from torch import Tensor

from vae_lightning.checkpoint import Checkpoint
from vae_lightning.metrics import ImageBounds
from vae_lightning.models import VAE
from vae_lightning.utils.pixels import to_float

LEAPFROG_STEPS = 10
# Chains of each image in the run that chooses the step sizes.
PILOT_CHAINS = 4
TARGET_ACCEPTANCE = 0.65


class Point(NamedTuple):
    """A state of the chains at one temperature: z (K, B, D), the others (K, B) or as z."""

    z: Tensor
    log_likelihood: Tensor
    energy: Tensor
    gradient: Tensor


class Path:
    """The distributions between p(z) and p(z|x) of some images, as energies."""

    def __init__(self, model: VAE, x: Tensor, labels: Tensor | None) -> None:
        if model.latent_space != "euclidean":
            raise ValueError("Hamiltonian Monte Carlo needs latents in Euclidean space")
        self.model, self.x, self.labels = model, x, labels
        with torch.no_grad():  # some priors are made by the encoder
            self.prior = model.prior_distribution()

    def at(self, z: Tensor, beta: float) -> Point:
        """-log p(z) - beta log p(x|z), and its gradient."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            log_likelihood = self.model.decode(z, self.labels).log_prob(self.x)
            energy = -self.prior.log_prob(z) - beta * log_likelihood
            (gradient,) = torch.autograd.grad(energy.sum(), z)
        return Point(z.detach(), log_likelihood.detach(), energy.detach(), gradient)


def transition(path: Path, start: Point, beta: float, step_size: Tensor) -> tuple[Tensor, Tensor]:
    """One step of Hamiltonian Monte Carlo.

    Shape:
        step_size (B,); returns z (K, B, D) and the acceptance probabilities (K, B).
    """
    step = step_size[:, None]
    momentum = torch.randn_like(start.z)
    kinetic = momentum.square().sum(-1) / 2
    end = start
    for _ in range(LEAPFROG_STEPS):
        momentum = momentum - step / 2 * end.gradient
        end = path.at(end.z + step * momentum, beta)
        momentum = momentum - step / 2 * end.gradient
    log_ratio = start.energy + kinetic - end.energy - momentum.square().sum(-1) / 2
    # A trajectory that leaves the range of floats is rejected.
    acceptance = log_ratio.clamp(max=0).exp().nan_to_num(0)
    accepted = torch.rand_like(acceptance) < acceptance
    return torch.where(accepted[..., None], end.z, start.z), acceptance


def anneal(
    path: Path, num_chains: int, betas: list[float], step_sizes: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Run chains along the path.

    Args:
        path: of B images.
        num_chains: K.
        betas: inverse temperatures, from 0 to 1.
        step_sizes: of each transition, (T, B); None adapts them to the rate of acceptance. Only
            with fixed ones are the weights unbiased.

    Shape:
        returns log w, float64 (K, B), and the step sizes.
    """
    z = path.prior.sample((num_chains, len(path.x)))
    log_weight = torch.zeros(z.shape[:2], dtype=torch.float64)
    step_size = torch.full((len(path.x),), 0.1, dtype=z.dtype)
    used = []
    for t in range(1, len(betas)):
        point = path.at(z, betas[t])
        log_weight += (betas[t] - betas[t - 1]) * point.log_likelihood
        if step_sizes is not None:
            step_size = step_sizes[t - 1]
        used.append(step_size)
        z, acceptance = transition(path, point, betas[t], step_size)
        step_size = step_size * (0.2 * (acceptance.mean(0) - TARGET_ACCEPTANCE)).exp()
    return log_weight, torch.stack(used)


def temperatures(count: int) -> list[float]:
    """Inverse temperatures from 0 to 1, densest at both ends."""
    curve = torch.sigmoid(torch.linspace(-4, 4, count + 1, dtype=torch.float64))
    return ((curve - curve[0]) / (curve[-1] - curve[0])).tolist()


def log_weights(
    model: VAE, x: Tensor, num_chains: int, num_temperatures: int, labels: Tensor | None = None
) -> Tensor:
    """Log weights of independent chains, whose exponentials have the mean p(x).

    Args:
        model: in evaluation mode, with one continuous latent in Euclidean space.
        x: images.
        num_chains: K, chains of each image.
        num_temperatures: T, transitions of each chain.
        labels: their classes, for a conditional model.

    Shape:
        x (B, C, H, W) in [0, 1]; labels int64 (B,); returns float64 (K, B), in nats.
    """
    path, betas = Path(model, x, labels), temperatures(num_temperatures)
    _, step_sizes = anneal(path, PILOT_CHAINS, betas, None)
    return anneal(path, num_chains, betas, step_sizes)[0]


def log_mean(log_weight: Tensor) -> tuple[Tensor, Tensor]:
    """The log of the mean over chains, in nats, and its standard error, each (B,)."""
    scaled = (log_weight - log_weight.amax(0)).exp()
    mean = scaled.mean(0)
    error = scaled.std(0) / mean / math.sqrt(len(log_weight))
    return log_weight.amax(0) + mean.log(), error


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Compare the nll with annealed importance sampling"
    )
    parser.add_argument("checkpoint", help="a checkpoint, or the folder of a run")
    parser.add_argument("--images", type=int, default=20, help="first test images")
    parser.add_argument("--chains", type=int, default=8, help="for each image")
    parser.add_argument("--temperatures", type=int, nargs="+", default=[500, 2000])
    parser.add_argument("--samples", type=int, default=5000, help="K of the nll")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    checkpoint = Checkpoint(options.checkpoint)
    model, data = checkpoint.model(), checkpoint.data()
    if not isinstance(model, VAE):
        parser.error("the model has more than one latent, or discrete ones")
    model.requires_grad_(False)  # saves a fifth of the time
    data.prepare_data()
    data.setup("test")
    images, labels = data.evaluated("test")
    x = to_float(images[: options.images])
    classes = labels[: options.images] if model.num_classes else None

    started = time.perf_counter()
    bounds = ImageBounds(options.samples, options.seed)
    bounds.update(model, x, torch.arange(len(x)), classes)
    nll = bounds.compute()[:, 0]
    seconds = time.perf_counter() - started
    print(f"{len(x)} test images: nll, K = {options.samples}: {nll.mean():.2f} ({seconds:.0f} s)")
    for count in options.temperatures:
        torch.manual_seed(options.seed)
        started = time.perf_counter()
        estimate, error = log_mean(log_weights(model, x, options.chains, count, classes))
        seconds = time.perf_counter() - started
        gap = nll + estimate
        print(
            f"AIS, {options.chains} chains, {count} temperatures: {-estimate.mean():.2f} +- "
            f"{error.square().sum().sqrt() / len(x):.2f}, nll above it by {gap.mean():.2f} "
            f"({gap.min():.2f} to {gap.max():.2f}) ({seconds:.0f} s)"
        )


if __name__ == "__main__":
    main()
