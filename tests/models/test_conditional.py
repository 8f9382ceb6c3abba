"""The conditional model: encoder, decoder, samples and metrics use the label."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from tiny import SIZE, tiny_data
from vae_lightning.config import compose, instantiate, to_container
from vae_lightning.data.sources import Digits
from vae_lightning.distributions.likelihoods.bernoulli import Bernoulli
from vae_lightning.distributions.posteriors.diagonal_normal import DiagonalNormal
from vae_lightning.distributions.priors.prior import Encode, Prior
from vae_lightning.distributions.priors.standard_normal import StandardNormal
from vae_lightning.errors import ConfigError
from vae_lightning.evaluation.bounds_module import BoundsModule
from vae_lightning.metrics import ImageBounds
from vae_lightning.metrics.likelihood import bounds_of
from vae_lightning.models import VAE
from vae_lightning.networks import MLPDecoder, MLPEncoder
from vae_lightning.objectives import ELBO
from vae_lightning.objectives.schedules import Constant


class OfPosteriors(Prior):
    """Remembers what the model's own `encode` makes of four images."""

    space = None

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.images = nn.Parameter(torch.rand(4, 1, SIZE, SIZE))

    def forward(self, encode: Encode) -> Distribution:
        self.components = encode(self.images)
        assert isinstance(self.components, Independent)
        base = self.components.base_dist
        return Independent(Normal(base.loc.mean(0), base.scale.mean(0)), 1)


def conditional(num_classes: int | None = 3, prior: Any = StandardNormal) -> VAE:
    """The same weights at each call with the same options."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VAE(
            image_shape=(1, SIZE, SIZE),
            latent_dim=2,
            encoder=partial(
                MLPEncoder, hidden=[8], activation="tanh", batch_norm=False, input_range=[0, 1]
            ),
            posterior=partial(DiagonalNormal, scale="log_variance"),
            prior=prior,
            decoder=partial(MLPDecoder, hidden=[8], activation="tanh", batch_norm=False),
            likelihood=partial(Bernoulli, start_at_mean=False),
            initialization="torch",
            num_classes=num_classes,
        )


def images(count: int = 3) -> Tensor:
    return torch.rand(count, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


LABELS = torch.tensor([0, 1, 2])
OTHERS = torch.tensor([1, 2, 0])


def test_encoder_takes_the_label() -> None:
    model, x = conditional(), images()
    means, others = model.encode(x, LABELS).mean, model.encode(x, OTHERS).mean
    assert ((means - others).abs().amax(1) > 1e-3).all()
    # Each image its own: a label that changes for one image alone changes that image alone.
    mixed = model.encode(x, torch.tensor([1, 1, 2])).mean
    torch.testing.assert_close(mixed[1:], means[1:])
    torch.testing.assert_close(mixed[0], others[0])


def test_decoder_takes_the_label_with_each_sample() -> None:
    model = conditional()
    z = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0))
    pictures, others = model.decode(z, LABELS).mean, model.decode(z, OTHERS).mean
    assert pictures.shape == (4, 3, 1, SIZE, SIZE)
    assert ((pictures - others).abs().flatten(2).amax(2) > 1e-3).all()
    for k in range(4):
        for index, label in enumerate(LABELS):
            alone = model.decode(z[k, index : index + 1], label[None]).mean[0]
            torch.testing.assert_close(pictures[k, index], alone)


def test_a_model_without_classes_ignores_labels() -> None:
    model, x = conditional(None), images()
    torch.testing.assert_close(model.encode(x, LABELS).mean, model.encode(x).mean)
    torch.testing.assert_close(model.reconstruct(x, OTHERS), model.reconstruct(x))
    assert model.each_class_in_turn(4, x.device) is None


def test_every_parameter_gets_a_gradient_and_each_label_its_own_channel() -> None:
    torch.manual_seed(0)
    model = conditional()
    loss, _ = ELBO(2, 1.0, Constant(), 0.0)(model(images(), 2, torch.tensor([0, 2, 2])), 0)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert model.label_picture is not None
    gradient = model.label_picture.weight.grad
    assert gradient is not None
    assert (gradient.abs().sum(1) > 0).tolist() == [True, False, True]


def test_samples_are_of_each_class_in_turn_by_default() -> None:
    model = conditional()

    def drawn(labels: Tensor | None) -> Tensor:
        torch.manual_seed(0)
        return model.sample(7, labels)

    in_turn = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    assert torch.equal(drawn(None), drawn(in_turn))
    assert not torch.equal(drawn(None), drawn(in_turn.flip(0).roll(1)))


def test_reconstruction_uses_the_label_twice() -> None:
    model, x = conditional(), images()
    expected = model.decode(model.encode(x, LABELS).mean, LABELS).mean
    torch.testing.assert_close(model.reconstruct(x, LABELS), expected)
    assert not torch.allclose(model.reconstruct(x, OTHERS), expected)


def test_images_of_a_prior_get_labels_in_turn() -> None:
    model = conditional(prior=OfPosteriors)
    model.prior_distribution()
    assert isinstance(model.prior, OfPosteriors)
    expected = model.encode(model.prior.images, torch.tensor([0, 1, 2, 0])).mean
    torch.testing.assert_close(model.prior.components.mean, expected)
    assert model(images(), 2, LABELS).rate.shape == (2, 3)


def test_nll_of_an_image_is_of_its_label() -> None:
    model, x = conditional(), images()

    def bounds(labels: Tensor) -> Tensor:
        metric = ImageBounds(num_samples=20, seed=0)
        metric.update(model, x, torch.arange(3), labels)
        return metric.compute()

    right, wrong = bounds(LABELS), bounds(OTHERS)
    assert ((right - wrong).abs()[:, 0] > 1e-3).all()
    for index in range(3):
        torch.manual_seed(index)
        alone = bounds_of(model, x[index : index + 1], 20, LABELS[index : index + 1])
        torch.testing.assert_close(right[index], alone)


def test_evaluation_uses_the_label_of_each_image_in_any_order() -> None:
    model = conditional()
    pixels = (255 * images()).to(torch.uint8)
    module = BoundsModule(model, pixels, LABELS, num_samples=20, seed=0, advance=lambda count: None)
    order = torch.tensor([2, 0, 1])
    x = pixels.float() / 255
    module.test_step((x[order], order), 0)
    metric = ImageBounds(num_samples=20, seed=0)
    metric.update(model, x, torch.arange(3), LABELS)
    torch.testing.assert_close(module.metric.compute(), metric.compute())


# -- refusals -------------------------------------------------------------------------------------


def test_data_without_labels_is_refused_with_one_line() -> None:
    with pytest.raises(ValueError, match="use model=vae") as refusal:
        conditional(num_classes=0)
    assert "\n" not in str(refusal.value)
    overrides = ["model=conditional", "data.num_classes=0", "paths.run_dir=unused"]
    config = to_container(compose("train", overrides))
    with pytest.raises(ConfigError, match=r"model\.num_classes=0.*use model=vae"):
        instantiate(config["model"], "model")


def test_data_with_other_classes_than_it_is_said_to_have_is_refused() -> None:
    with pytest.raises(ValueError, match="num_classes=4"):
        tiny_data(num_classes=4)


def test_model_has_as_many_classes_as_the_data() -> None:
    overrides = ["model=conditional", "data=digits", "paths.run_dir=unused"]
    config = to_container(compose("train", overrides))
    assert config["model"]["num_classes"] == 10
    assert instantiate(config["model"], "model").num_classes == 10


# -- a given class --------------------------------------------------------------------------------


def test_samples_of_a_trained_model_are_of_the_given_class() -> None:
    from sklearn.linear_model import LogisticRegression

    torch.manual_seed(0)
    pixels, labels = Digits().load(Path("unused"), train=True)
    x = pixels.float() / 255
    overrides = ["model=conditional", "data=digits", f"data.size={x.shape[-1]}"]
    config = to_container(compose("train", [*overrides, "paths.run_dir=unused"]))
    model: VAE = instantiate(config["model"], "model")
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    objective = ELBO(1, 1.0, Constant(), 0.0)
    for step in range(300):
        chosen = torch.randint(len(x), (128,))
        loss, _ = objective(model(x[chosen], 1, labels[chosen]), step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    classifier = LogisticRegression(max_iter=300).fit(x.flatten(1).numpy(), labels.numpy())
    chosen = torch.arange(10).repeat_interleave(50)
    recognised = classifier.predict(model.sample(500, chosen).flatten(1).numpy())
    right = (torch.from_numpy(recognised) == chosen).float().unflatten(0, (10, 50)).mean(1)
    assert right.mean() > 0.9
    # Every class, and not only most of them.
    assert right.min() > 0.6
