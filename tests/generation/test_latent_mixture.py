"""The mixture of normals that `mode=samples` can draw latents from."""

from pathlib import Path

import numpy as np
import pytest
import torch

from option_grid import model_of, option
from tiny import small_codes, tiny_data, tiny_vae
from tiny_samples import DEFAULTS, drawn
from vae_lightning.config import instantiate
from vae_lightning.errors import ConfigError
from vae_lightning.generation.latent_mixture import fit_mixture, normal_mixture, sample_mixture
from vae_lightning.generation.samples import SamplesMode
from vae_lightning.utils.random_state import fixed_noise


def test_samples_of_a_mixture_have_its_weights_means_and_covariances() -> None:
    factors = torch.tensor([[[1.0, 0.0], [0.8, 0.6]], [[0.1, 0.0], [0.0, 2.0]]])
    means = torch.tensor([[-50.0, 0.0], [50.0, 7.0]])
    parameters = (torch.tensor([0.25, 0.75]), means, factors)
    mixture = normal_mixture(*parameters)
    with fixed_noise(0, torch.device("cpu")):
        z = sample_mixture(mixture, 40_000)
    torch.testing.assert_close(z.mean(0), mixture.mean, atol=0.5, rtol=0)
    left, right = z[z[:, 0] < 0], z[z[:, 0] > 0]
    assert len(left) / len(z) == pytest.approx(0.25, abs=0.01)
    for part, mean, factor in zip((left, right), means, factors, strict=True):
        torch.testing.assert_close(part.mean(0), mean, atol=0.05, rtol=0)
        torch.testing.assert_close(part.T.cov(), factor @ factor.T, atol=0.1, rtol=0)
    with fixed_noise(0, torch.device("cpu")):
        cold = sample_mixture(normal_mixture(*parameters, temperature=0.1), 40_000)
    centre = means[(cold[:, 0] > 0).long()]
    torch.testing.assert_close(cold - centre, 0.1 * (z - centre), atol=1e-4, rtol=0)


def test_the_mixture_has_the_moments_of_the_aggregate_posterior(tmp_path: Path) -> None:
    model = tiny_vae().eval()
    images = torch.randint(0, 256, (4000, 1, 4, 4), dtype=torch.uint8)
    with fixed_noise(0, torch.device("cpu")):
        mixture, facts = fit_mixture(model, images, torch.zeros(4000).long(), 3, 1.0, seed=0)
        z = sample_mixture(mixture, 4000)
    posterior = model.encode(images.float() / 255)
    torch.testing.assert_close(z.mean(0), posterior.mean.mean(0), atol=0.1, rtol=0)
    spread = posterior.variance.mean(0) + posterior.mean.var(0)
    torch.testing.assert_close(z.var(0), spread, atol=0.1, rtol=0)
    assert (facts["images"], facts["of"], facts["converged"]) == (4000, 4000, True)


def test_a_mixture_is_fitted_to_the_number_of_images_that_its_facts_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vae_lightning.generation.latent_mixture._MAX_IMAGES", 12)
    found = drawn(tiny_vae().eval(), tmp_path / "a", draw_from="mixture")
    assert found["facts"]["mixture"]["images"] == 12
    assert found["facts"]["mixture"]["of"] == 18
    again = drawn(tiny_vae().eval(), tmp_path / "b", draw_from="mixture")
    assert np.array_equal(found["images"], again["images"])
    with pytest.raises(ConfigError, match="components=19 are too many: there are 18"):
        drawn(tiny_vae().eval(), tmp_path / "c", draw_from="mixture", components=19)


@pytest.mark.parametrize("name", ["hierarchical", "conditional"])
def test_a_mixture_covers_all_layers_and_classes(tmp_path: Path, name: str) -> None:
    node = option("model", name) | {"num_classes": 3 if name == "conditional" else None}
    model = instantiate(node, "model").eval()
    found = drawn(model, tmp_path, draw_from="mixture", count=5)
    assert found["latents"].shape[1] == model.sample_latents(1).shape[1]
    assert np.isfinite(found["latents"]).all()


@pytest.mark.parametrize(
    ("posterior", "prior", "kind"),
    [
        ("von_mises_fisher", "uniform_sphere", "are on the sphere"),
        ("relaxed_categorical", "uniform_categorical", "are on the simplex"),
    ],
)
def test_normals_are_fitted_only_to_real_vectors(posterior: str, prior: str, kind: str) -> None:
    model = model_of(posterior, prior, "bernoulli")
    with pytest.raises(ValueError, match=f"draw_from=mixture .* {kind}: choose mode"):
        SamplesMode(**(DEFAULTS | {"draw_from": "mixture"})).check(model, tiny_data)


def test_normals_are_not_fitted_to_codes() -> None:
    with pytest.raises(ValueError, match=r"draw_from=mixture .* are codes"):
        SamplesMode(**(DEFAULTS | {"draw_from": "mixture"})).check(small_codes(), tiny_data)
