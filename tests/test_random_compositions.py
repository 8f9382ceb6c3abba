"""A few of the random compositions; `random_compositions.py` runs as many as you like."""

import random
from pathlib import Path

import pytest

from random_compositions import COMMANDS, random_settings, walk, write_images


@pytest.mark.parametrize("number", range(2))
def test_a_random_composition_works_in_every_command_or_is_refused_with_advice_that_works(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "photos")
    settings = random_settings(random.Random(f"test {number}"), tmp_path / "photos")
    result = walk(settings, tmp_path / "made", COMMANDS)
    assert result.faults == []
    assert "works" in result.outcomes.values()
