"""Histograms of posteriors and gradients."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tiny import composed_model, tiny_data, tiny_module, tiny_trainer
from vae_lightning.callbacks import DebugHistograms
from vae_lightning.callbacks.tensorboard import TensorBoardLogger
from vae_lightning.training.module import VAEModule

PARTS = {"encoder", "posterior", "decoder", "likelihood"}


def fit(folder: Path, module: VAEModule, *callbacks: Callback) -> EventAccumulator:
    logger = TensorBoardLogger(folder, name="", version="tensorboard")
    options: dict[str, Any] = {"logger": logger, "log_every_n_steps": 2, "max_epochs": 2}
    tiny_trainer(folder, *callbacks, **options).fit(module, datamodule=tiny_data())
    logger.finalize("success")
    return EventAccumulator(logger.log_dir, {"scalars": 0, "histograms": 0}).Reload()


def test_histograms_and_norms_are_those_of_the_model(tmp_path: Path) -> None:
    norms: list[float] = []

    class Look(Callback):
        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            gradients = [w.grad.flatten() for w in pl_module.model.decoder.parameters()]
            norms.append(float(torch.cat(gradients).norm()))

    module = tiny_module()
    events = fit(tmp_path, module, DebugHistograms(num_images=5), Look())
    shown = set(events.Tags()["histograms"])
    assert shown == {"posterior/mean", "posterior/scale", *(f"gradient/{x}" for x in PARTS)}
    # Three steps in each of two epochs.
    assert all([event.step for event in events.Histograms(tag)] == [3, 6] for tag in shown)
    found = events.Scalars("gradient_norm/decoder")
    assert [point.step for point in found] == [2, 4, 6]
    assert [point.value for point in found] == pytest.approx(norms[1::2], rel=1e-5)
    images, _ = tiny_data_read().images("val", 5)
    with torch.no_grad():
        posterior = module.model.encode(images)
    for tag, values in (("mean", posterior.mean), ("scale", posterior.stddev)):
        last = events.Histograms(f"posterior/{tag}")[-1].histogram_value
        assert (last.num, last.sum) == (10, pytest.approx(float(values.sum()), rel=1e-4))


def tiny_data_read() -> Any:
    data = tiny_data()
    data.setup("fit")
    return data


def test_histograms_do_not_change_the_run(tmp_path: Path) -> None:
    plain, watched = tiny_module(), tiny_module()
    fit(tmp_path / "a", plain)
    fit(tmp_path / "b", watched, DebugHistograms(num_images=5))
    for one, other in zip(plain.parameters(), watched.parameters(), strict=True):
        assert torch.equal(one, other)


def test_each_layer_has_its_own_and_a_posterior_without_a_scale_has_its_means(
    tmp_path: Path,
) -> None:
    size = "data.size=4"
    layers = composed_model(
        "model=hierarchical", size, "model.latent_dims=[3,2]", "model.encoder.hidden=[4]"
    )
    found = fit(tmp_path / "a", tiny_module(layers, lr=1e-3), DebugHistograms(5)).Tags()[
        "histograms"
    ]
    assert {f"posterior/{x}_layer_{n}" for x in ("mean", "scale") for n in (1, 2)} <= set(found)
    sphere = composed_model(
        "model/posterior=von_mises_fisher", "model/prior=uniform_sphere", size,
        "model.encoder.hidden=[4]", "model.decoder.hidden=[4]", "model.latent_dim=3",
    )  # fmt: skip
    found = fit(tmp_path / "b", tiny_module(sphere, lr=1e-3), DebugHistograms(5)).Tags()[
        "histograms"
    ]
    assert "posterior/mean" in found
    assert "posterior/scale" not in found
