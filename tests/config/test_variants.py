"""Every line of the table in docs/variants.md is a run that can be started."""

from pathlib import Path

import pytest

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
