import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import vae_lightning as vl

LIGHT = """
import sys
import vae_lightning as vl
from vae_lightning.train import main
assert dir(vl) == sorted(vl.__all__)
functions = [vl.train, vl.evaluate, vl.generate, vl.detect, vl.export, vl.fit, vl.load_run]
assert all(type(function).__name__ == "function" for function in functions), functions
import vae_lightning.train, vae_lightning.export
assert [vl.train, vl.export] == [functions[0], functions[4]]
assert sys.modules["vae_lightning.train"].main is main
print(sorted({"torch", "lightning", "sklearn"} & set(sys.modules)))
"""


def python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_functions_have_the_names_of_the_commands_and_load_nothing_until_they_are_called(
    tmp_path: Path,
) -> None:
    done = python("-c", LIGHT, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_a_command_is_loaded_once_and_without_a_warning(tmp_path: Path) -> None:
    done = python("-W", "error", "-m", "vae_lightning.train", "--version", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        f"vae_lightning {vl.__version__}\n",
        "",
    )


def test_every_public_name_exists_and_is_documented() -> None:
    assert set(vl.__all__) == {*vl._HOMES, "__version__"}
    for name in vl._HOMES:
        assert inspect.getdoc(getattr(vl, name)), name
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = vl.trian
