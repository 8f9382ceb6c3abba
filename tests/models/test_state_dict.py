"""The names of a model's weights, which checkpoints are read by."""

import json
from pathlib import Path

import pytest

from tiny import composed_model, options

# Of release 0.1.0; `hierarchical` with three classes. Optimisers number weights, so order counts.
KEYS: dict[str, list[str]] = json.loads(
    Path(__file__).with_name("state_dict_keys.json").read_text(encoding="utf-8")
)
OVERRIDES = {"hierarchical": ("model.num_classes=3",)}


@pytest.mark.parametrize("name", options("model"))
def test_weights_have_the_names_that_older_checkpoints_have(name: str) -> None:
    model = composed_model(
        "data=digits", "paths.run_dir=unused", f"model={name}", *OVERRIDES.get(name, ())
    )
    assert list(model.state_dict()) == KEYS[name]
