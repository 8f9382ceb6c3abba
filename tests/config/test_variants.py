"""Every line of the table in docs/variants.md is a run that can be started."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback
from torch import Tensor

from tiny import options
from vae_lightning.config import compose, to_container
from vae_lightning.training.build import build

TABLE = Path(__file__).parents[2] / "docs" / "variants.md"


def lines() -> list[tuple[str, list[str]]]:
    """Name and choices of each line."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in TABLE.read_text().splitlines()
        if line.startswith("| ")
    ]
    return [(name, choices.strip("`").split()) for name, _, choices in cells if "=" in choices]


@pytest.mark.parametrize("choices", [pytest.param(choices, id=name) for name, choices in lines()])
def test_a_line_of_the_table_builds_a_run(choices: list[str]) -> None:
    config = compose("train", [*choices, "trainer=cpu", "logger=none", "paths.run_dir=unused"])
    build(to_container(config))


def test_the_line_of_rae_l2_decays_the_weights_of_the_decoder_alone(tmp_path: Path) -> None:
    (choices,) = [choices for name, choices in lines() if name == "RAE-L2"]

    def gradients(*overrides: str) -> dict[str, Tensor]:
        """Of the first step of training."""
        small = ["data=digits", "data.size=8", "trainer=cpu", "logger=none", "callbacks=minimal"]
        small += ["model.encoder.hidden=[6]", "model.decoder.hidden=[6]", "+trainer.max_steps=1"]
        options = [*choices, *small, f"paths.run_dir={tmp_path}", *overrides]
        run = build(to_container(compose("train", options)))
        found: dict[str, Tensor] = {}

        class Look(Callback):
            def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
                for name, weight in module.model.named_parameters():
                    found[name] = weight.grad.clone()
                    weights[name] = weight.detach().clone()

        run.trainer.callbacks[:0] = [Look()]  # type: ignore[attr-defined]
        run.fit()
        # The penalty is part of the loss that is logged.
        losses[overrides] = float(run.trainer.callback_metrics["train/loss"])
        return found

    weights: dict[str, Tensor] = {}
    losses: dict[tuple[str, ...], float] = {}
    without = gradients("objective.decoder_penalty=none")
    decayed = gradients("objective.decoder_weight=0.5")
    for name, gradient in decayed.items():
        penalised = name.startswith(("decoder.", "likelihood.")) and weights[name].ndim > 1
        expected = 2 * 0.5 * weights[name] if penalised else torch.zeros_like(gradient)
        torch.testing.assert_close(gradient - without[name], expected)
    squares = sum(
        float(weight.square().sum())
        for name, weight in weights.items()
        if name.startswith(("decoder.", "likelihood.")) and weight.ndim > 1
    )
    first, second = losses.values()
    assert second - first == pytest.approx(0.5 * squares, rel=1e-3)


def test_the_table_names_every_option_of_the_parts_and_objectives() -> None:
    table = TABLE.read_text()
    defaults = {"diagonal_normal", "standard_normal", "bernoulli", "mlp", "elbo", "vae", "constant"}
    for group in (
        "model",
        "model/encoder",
        "model/decoder",
        "model/posterior",
        "model/prior",
        "model/likelihood",
        "objective",
        "objective/schedule",
    ):
        for option in set(options(group)) - defaults:
            assert f"{group}={option}" in table, f"{group}={option}"
