"""The examples in docstrings run, and every part that people compose has one."""

import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest
import torch
from hydra.utils import get_class

import vae_lightning
from vae_lightning.config import CONF_DIR

PACKAGE = Path(vae_lightning.__file__).parent
MODULES = sorted(
    ".".join(("vae_lightning", *file.relative_to(PACKAGE).with_suffix("").parts))
    for file in PACKAGE.rglob("*.py")
    if ">>> " in file.read_text()
)

# The groups of conf/ whose options are parts of a model or of its training.
GROUPS = ("model", "objective", "optimizer")


def targets() -> list[str]:
    """The classes of this package that the options of these groups name."""
    found = set()
    for group in GROUPS:
        for file in (CONF_DIR / group).rglob("*.yaml"):
            found |= set(re.findall(r"_target_: (vae_lightning\.\S+)", file.read_text()))
    return sorted(found)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = importlib.import_module(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        results = doctest.testmod(
            module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        )
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize("target", targets())
def test_every_part_that_people_compose_has_an_example(target: str) -> None:
    assert ">>> " in (inspect.getdoc(get_class(target)) or ""), target
