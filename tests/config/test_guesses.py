"""What an unknown name was meant to be, or the list of what there is."""

import re
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from tiny import options
from vae_lightning.config import check_keys, compose, nearest, to_container
from vae_lightning.config.guesses import _SYNONYMS, chosen_as, variant
from vae_lightning.config.variants import VARIANTS
from vae_lightning.errors import ConfigError

TABLE = Path(__file__).parents[2] / "docs" / "variants.md"
KEYS = ["data.batch_size", "logger", "model.latent_dim", "model.prior", "optimizer.lr", "paths"]


def rows() -> list[tuple[str, str]]:
    """Name and settings of each row of the page."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in TABLE.read_text().splitlines()
        if line.startswith("| ")
    ]
    return [(name, settings.strip("`")) for name, _, settings in cells if "=" in settings]


@pytest.mark.parametrize(("name", "settings"), rows(), ids=[name for name, _ in rows()])
def test_every_name_of_the_page_is_answered_with_the_settings_of_its_row(
    name: str, settings: str
) -> None:
    whole = [part for part in re.split(r" \(|\), |\)|, (?=[A-Z])", name) if part]
    for spelled in (*whole, *(part.lower().replace("-", "_") for part in whole)):
        assert variant(spelled) == settings, spelled


def test_the_variants_are_those_of_the_page_and_no_name_belongs_to_two() -> None:
    assert set(VARIANTS) == {"model=vae", *(settings for _, settings in rows())}
    names = [
        "".join(filter(str.isalnum, name.casefold())) for of in VARIANTS.values() for name in of
    ]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("meant", _SYNONYMS)
def test_every_synonym_stands_for_a_key_or_an_option_that_exists(meant: str) -> None:
    group, _, option = meant.partition("=")
    if option:
        assert option in options(group)
    else:
        missing = object()
        config = compose("train", ["paths.run_dir=unused"])
        assert OmegaConf.select(config, group, default=missing) is not missing


@pytest.mark.parametrize(
    ("name", "choices", "expected"),
    [
        # the same last part
        ("lr", KEYS, "did you mean optimizer.lr?"),
        ("trainer.lr", KEYS, "did you mean optimizer.lr?"),
        ("prior", KEYS, "did you mean model/prior?"),
        ("hidden", ["a.hidden", "b.hidden"], "did you mean a.hidden or b.hidden?"),
        # a synonym
        ("learning_rate", KEYS, "did you mean optimizer.lr?"),
        ("learning_rate", ["betas", "lr"], "did you mean lr?"),
        ("batchsize", KEYS, "did you mean data.batch_size?"),
        ("z_dim", KEYS, "did you mean model.latent_dim?"),
        ("gpu", ["model", "trainer"], "did you mean trainer=gpu?"),
        ("cuda", ["cpu", "gpu"], "did you mean gpu?"),
        # a misspelling
        ("mpl", ["conv", "mlp"], "did you mean mlp?"),
        ("batch_sise", KEYS, "did you mean data.batch_size?"),
        ("fashion", ["fashion_mnist", "mnist"], "did you mean fashion_mnist?"),
        # nothing near
        ("adagrad", ["adam_normgrad", "sgd"], "there are: adam_normgrad, sgd"),
        ("iwae", ["conditional", "vae"], "there are: conditional, vae"),
        ("cuda", ["cpu", "mps"], "there are: cpu, mps"),
        ("epochs", ["logger", "paths"], "there are: logger, paths"),
        ("count", [f"{part}.count" for part in "abcde"], "there are: a.count, b.count, c.count"),
    ],
)
def test_a_guess_is_the_key_of_that_name_then_a_synonym_then_what_is_near(
    name: str, choices: list[str], expected: str
) -> None:
    assert nearest(name, choices).startswith(expected)


def test_a_key_that_was_added_is_compared_with_the_keys_of_all_sections() -> None:
    config: dict[str, Any] = to_container(compose("train", ["paths.run_dir=unused"]))
    with pytest.raises(ConfigError, match=r"^epochs is not a key .* mean trainer\.max_epochs\?$"):
        check_keys({**config, "epochs": 3}, config)


def test_an_option_is_chosen_as_it_is_spelled_or_from_a_list() -> None:
    assert chosen_as("model/prior", "vamp") == "model/prior=vamp"
    assert chosen_as("model/prior", "vampp") == "model/prior=vamp"
    assert chosen_as("model/posterior@model.conditional", "flow").endswith("conditional=flow")
    listed = ", ".join(options("model/prior"))
    assert chosen_as("model/prior", "qqq") == f"model/prior=... (there are: {listed})"
