"""What every model can do, whatever it is composed of."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from vae_lightning.distributions.point_mass import PointMass
from vae_lightning.distributions.spaces import Interpolation, interpolate_latents
from vae_lightning.models.latent_variable import LatentVariableModel
from vae_lightning.utils.checks import at_least
from vae_lightning.utils.random_state import noise_of

# Decoded at once where many samples are asked for: memory does not grow with them.
_DECODED = 10_000


class Model(LatentVariableModel):
    """A generative model of images: draws, reconstructs, interpolates and scores them."""

    @torch.no_grad()
    def sample(
        self,
        num_images: int,
        labels: Tensor | None = None,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw latents from the prior and return the mean images of the likelihood.

        Args:
            num_images: how many.
            labels: the class of each, by default each in turn; a model without classes needs none.
            temperature: as for `sample_latents`.
            generator: of the noise, on any device; None draws from torch's own.

        Shape:
            labels int64 (num_images,); returns (num_images, C, H, W).

        Raises:
            ValueError: no images, a label of no class, or a temperature that the prior does not
                know.
        """
        at_least("num_images", num_images, 1)
        device = self.device
        with noise_of(generator, device):
            latents = self.sample_latents(num_images, temperature)
        if labels is None:
            labels = self.each_class_in_turn(num_images, device)
        else:
            self.check_labelled(labels, num_images)
        return self.mean_images(latents, labels)

    @torch.no_grad()
    def reconstruct(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Encode, and decode the centre of the posterior.

        Shape:
            x (B, C, H, W) in [0, 1]; labels int64 (B,); returns (B, C, H, W).

        Raises:
            ValueError: what is not images of this model, or not a class for each.
        """
        self.check_images(x, labels)
        return self.mean_images(self.latent_means(x, labels), labels)

    @torch.no_grad()
    def interpolate(
        self,
        a: Tensor,
        b: Tensor,
        steps: int,
        *,
        path: Interpolation | None = None,
        labels_a: Tensor | None = None,
        labels_b: Tensor | None = None,
    ) -> Tensor:
        """Images on the way from some to others: their latents, and where there are any labels.

        The first and the last are the reconstructions of the two.

        Args:
            a: images.
            b: as many others.
            steps: images on the way, both ends included.
            path: `linear` or `spherical`; None takes the one that stays in the latent space.
            labels_a: the classes of `a`, for a conditional model.
            labels_b: those of `b`.

        Shape:
            a, b (B, C, H, W) in [0, 1]; labels int64 (B,); returns (B, steps, C, H, W).

        Raises:
            ValueError: fewer than two steps, a path that leaves the latent space, or what is not
                images of this model, or not a class for each.
        """
        at_least("steps", steps, 2)
        self.check_images(a, labels_a)
        self.check_images(b, labels_b)
        if len(a) != len(b):
            raise ValueError(f"{len(a)} images cannot be paired with {len(b)}: give as many")
        return self.images_between(
            self.latent_means(a, labels_a),
            self.latent_means(b, labels_b),
            torch.linspace(0, 1, steps, device=a.device, dtype=a.dtype),
            path=path,
            labels_a=labels_a,
            labels_b=labels_b,
        )

    @torch.no_grad()
    def images_between(
        self,
        a: Tensor,
        b: Tensor,
        shares: Tensor,
        *,
        path: Interpolation | None = None,
        labels_a: Tensor | None = None,
        labels_b: Tensor | None = None,
    ) -> Tensor:
        """The pictures of points on the way from some latents to others.

        Args:
            a: latents, in the form of `latent_means`.
            b: as many others.
            shares: how far each point is on the way: 0 is `a` and 1 is `b`.
            path: as for `interpolate`.
            labels_a: the classes of `a`, for a conditional model; they are mixed in these shares.
            labels_b: those of `b`.

        Shape:
            a, b (B, D); shares (T,); labels int64 (B,); returns (B, T, C, H, W).

        Raises:
            ValueError: a path that leaves the latent space.
        """
        latents = interpolate_latents(a, b, shares, self.latent_space, path)  # (B, T, D)
        mixed = None
        if self.num_classes is not None and labels_a is not None and labels_b is not None:
            one, other = (
                F.one_hot(labels, self.num_classes).to(a.dtype) for labels in (labels_a, labels_b)
            )
            mixed = torch.lerp(one[:, None], other[:, None], shares[:, None]).flatten(0, 1)
        return self.mean_images(latents.flatten(0, 1), mixed).unflatten(0, (len(a), len(shares)))

    @torch.no_grad()
    def log_likelihood(
        self,
        x: Tensor,
        num_samples: int,
        labels: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        r"""The importance-weighted bound on log p(x) of each image, in nats.

        .. math:: \log p(x) \ge \mathbb{E} \Big[ \log \frac{1}{K} \sum_{k=1}^K
                  \frac{p(x, z_k)}{q(z_k|x)} \Big], \quad z_k \sim q(z|x)

        Args:
            x: images.
            num_samples: K; more are tighter.
            labels: their classes, for a conditional model.
            generator: of the noise, on any device; None draws from torch's own.

        Shape:
            x (B, C, H, W) in [0, 1]; labels int64 (B,); returns float64 (B,).

        Raises:
            ValueError: no samples, what is not images of this model, or not a class for each, or a
                deterministic posterior, which gives no bound.

        References:
            Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016.
        """
        at_least("num_samples", num_samples, 1)
        self.check_images(x, labels)
        block = max(1, _DECODED // len(x))
        total = torch.full((len(x),), -math.inf, dtype=torch.float64, device=x.device)
        with noise_of(generator, self.device):
            for start in range(0, num_samples, block):
                trace = self(x, min(block, num_samples - start), labels)
                if any(isinstance(latent.posterior, PointMass) for latent in trace.latents):
                    raise ValueError("a deterministic posterior gives no bound on log p(x)")
                total = torch.logaddexp(total, trace.log_weight.double().logsumexp(0))  # (B,)
        return total - math.log(num_samples)
