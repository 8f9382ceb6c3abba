"""What a model is before its first step: weights, the bias at the mean image, and its average."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from conftest import Outcome
from tiny import composed_model, head, tiny_data, tiny_module, tiny_trainer
from vae_lightning import load
from vae_lightning.distributions.posteriors.diagonal_normal import DiagonalNormal


def mean_image() -> torch.Tensor:
    data = tiny_data()
    data.setup("fit")
    images, _ = data.evaluated("train")
    return images.float().mean(0) / 255


@pytest.mark.parametrize("likelihood", ["bernoulli", "normal"])
def test_output_starts_at_the_mean_training_image_where_it_is_asked_to(
    tmp_path: Path, likelihood: str
) -> None:
    size = ["data.size=4", "paths.run_dir=unused", f"model/likelihood={likelihood}"]
    for start_at_mean in (True, False):
        asked = f"model.likelihood.start_at_mean={str(start_at_mean).lower()}"
        model = composed_model(*size, asked)
        module = tiny_module(model, lr=0.0)
        tiny_trainer(tmp_path, max_epochs=1).fit(module, tiny_data())
        nn.init.zeros_(head(model.likelihood).weight)
        start = model.decode(torch.zeros(1, 20)).mean[0]
        assert torch.allclose(start, mean_image(), atol=1e-5) is start_at_mean


def test_a_pixel_that_is_always_off_gets_a_finite_bias() -> None:
    model = composed_model("paths.run_dir=unused", "model.likelihood.start_at_mean=true")
    bias = model.likelihood.bias_of(torch.zeros(28 * 28))
    torch.testing.assert_close(bias, torch.full_like(bias, math.log(0.001 / 0.999)))


def test_a_resumed_run_keeps_the_bias_that_it_has_learnt(tmp_path: Path) -> None:
    size = ["data.size=4", "paths.run_dir=unused", "model.likelihood.start_at_mean=true"]
    trainer = tiny_trainer(tmp_path, max_epochs=1)
    first = tiny_module(composed_model(*size))
    trainer.fit(first, tiny_data())
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    learnt = tiny_module(composed_model(*size), lr=0.0)
    tiny_trainer(tmp_path, max_epochs=2).fit(
        learnt, tiny_data(), ckpt_path=tmp_path / "one.ckpt", weights_only=True
    )
    bias = head(learnt.model.likelihood).bias
    assert torch.equal(bias, head(first.model.likelihood).bias)
    assert not torch.allclose(torch.sigmoid(bias), mean_image().flatten(), atol=1e-3)


def test_glorot_weights_fill_their_interval_and_biases_are_zero() -> None:
    model = composed_model("paths.run_dir=unused", "model.initialization=glorot_uniform")
    layers = [part for part in model.modules() if isinstance(part, nn.Linear)]
    assert len(layers) == 4
    for layer in layers:
        bound = math.sqrt(6 / (layer.in_features + layer.out_features))
        assert 0.98 * bound < layer.weight.abs().max() <= bound
        assert layer.bias.abs().max() == 0


def test_he_weights_have_their_variance_and_biases_are_zero() -> None:
    model = composed_model(
        "paths.run_dir=unused", "model.initialization=he_normal", "model.encoder.activation=gated"
    )
    layers = [part for part in model.modules() if isinstance(part, nn.Linear)]
    assert len(layers) == 4
    for layer in layers:
        deviation = layer.weight.std().item()
        assert deviation == pytest.approx(math.sqrt(2 / layer.in_features), rel=0.02)
        assert layer.bias.abs().max() == 0


def test_scale_of_the_posterior_is_what_its_name_says() -> None:
    features = 20 * torch.randn(50, 3)
    for name, function in (
        ("log_variance", lambda free: torch.exp(free / 2)),
        ("clipped_log_variance", lambda free: torch.exp(free.clamp(-6, 2) / 2)),
        ("log_scale", torch.exp),
        ("softplus", nn.functional.softplus),
    ):
        posterior = DiagonalNormal(3, 2, scale=name)  # type: ignore[arg-type]
        free = posterior.head(features)[:, 2:]
        torch.testing.assert_close(posterior(features).stddev, function(free))


def test_averaged_weights_are_saved_and_can_be_resumed(
    call_train: Callable[..., Outcome], tmp_path: Path
) -> None:
    process = call_train(
        "data=digits", "callbacks=[minimal,averaged_weights]", "logger=none",
        "trainer.max_epochs=2", "model.likelihood.start_at_mean=true", "optimizer.lr=0.01",
    )  # fmt: skip
    assert process.status == 0, process.err
    (folder,) = (tmp_path / "outputs" / "train" / "runs").iterdir()
    content = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    kept, current = content["state_dict"], content["current_model_state"]
    name = "model.encoder.layers.0.weight"
    # The average lags behind the weights.
    assert (kept[name] - current[name]).abs().max() > 0.01
    best = load(folder / "checkpoints" / "last.ckpt").state_dict()
    assert torch.equal(best[name.removeprefix("model.")], kept[name])
    resumed = call_train(
        "data=digits", "callbacks=[minimal,averaged_weights]", "logger=none",
        "trainer.max_epochs=3", "model.likelihood.start_at_mean=true", "optimizer.lr=0.01",
        f"ckpt_path={folder / 'checkpoints' / 'last.ckpt'}",
    )  # fmt: skip
    assert resumed.status == 0, resumed.err
