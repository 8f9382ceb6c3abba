"""The figures in the headers of the experiment files are those of the results page."""

import re
from pathlib import Path

import pytest

from tiny import options
from vae_lightning.config import CONF_DIR

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
# Results have two decimals at least, or are seconds above a thousand. Settings have neither, and
# the numbers of preprints have five decimals.
FIGURE = re.compile(r"(?<![\d.])\d+\.\d{2,4}(?![\d.]*\d)|(?<![\d.])\d,\d{3}(?= s\b)")


def figures(text: str) -> set[str]:
    return set(FIGURE.findall(text))


@pytest.mark.parametrize("experiment", options("experiment"))
def test_the_figures_of_an_experiment_are_on_the_results_page(experiment: str) -> None:
    lines = (CONF_DIR / "experiment" / f"{experiment}.yaml").read_text().splitlines()
    header = figures("\n".join(line for line in lines if line.startswith("#")))
    on_page = set(re.findall(r"\d[\d.,]*\d", PAGE.read_text()))
    assert header <= on_page
