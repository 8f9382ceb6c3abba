"""The expected results of experiments."""

import re

import pytest

from tiny import options
from vae_lightning.cli.expected import check_expected, comparisons, settings_of_evaluate
from vae_lightning.config import CONF_DIR, compose, to_container
from vae_lightning.errors import ConfigError

ENTRY = {"value": 93.4, "tolerance": 0.5, "seeds": 1, "num_samples": 1000, "num_images": 2000}


@pytest.mark.parametrize("experiment", options("experiment"))
def test_an_experiment_expects_what_its_header_says(experiment: str) -> None:
    config = to_container(compose("train", [f"experiment={experiment}", "paths.run_dir=unused"]))
    check_expected(config["expected"])
    header = (CONF_DIR / "experiment" / f"{experiment}.yaml").read_text(encoding="utf-8")
    figures = set(
        re.findall(r"\d+\.\d\d", header.partition("\ndefaults")[0].partition("\nexpected")[0])
    )
    for entry in (config["expected"] or {}).values():
        assert f"{abs(entry['value']):.2f}" in figures


def test_an_nll_is_compared_with_one_of_as_many_samples_and_images_only() -> None:
    expected = {"test/nll": ENTRY}
    (line,) = comparisons(expected, {"test/nll": 93.8}, num_samples=1000, num_images=2000)
    assert line.endswith("this run: 93.80, within it")
    (line,) = comparisons(expected, {"test/nll": 94.0}, num_samples=1000, num_images=2000)
    assert line.endswith("this run: 94.00, OUTSIDE of it")
    assert comparisons(expected, {"test/nll": 93.8}, num_samples=5000, num_images=2000) == []
    assert comparisons(expected, {"test/nll": 93.8}, num_samples=1000) == []
    (line,) = settings_of_evaluate(expected)
    assert line.endswith("evaluate num_samples=1000 num_images=2000")


def test_an_unknown_key_of_an_expected_result_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected\.test/nll\.values is not an option"):
        check_expected({"test/nll": {"values": 1.0}})
