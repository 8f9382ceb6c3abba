"""What a user of a terminal sees, and what is left in the log."""

import os
import pty
import re
import sys
from pathlib import Path

import pytest

from conftest import DIGITS

STYLES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_a_terminal(folder: Path, columns: int, *arguments: str) -> str:
    """Run a command on a terminal of that width, and return all that it wrote."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns)}
        os.execve(sys.executable, [sys.executable, "-m", *arguments], environment)
    written = b""
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # Linux's end of a terminal
            chunk = b""
        if not chunk:
            break
        written += chunk
    assert os.waitpid(process, 0)[1] == 0, written.decode()
    return written.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such terminals")
def test_a_run_fits_a_narrow_terminal_and_leaves_a_log(tmp_path: Path) -> None:
    settings = [*DIGITS, "experiment=iwae", "trainer.max_epochs=1", "hydra.run.dir=a_run"]
    shown = on_a_terminal(tmp_path, 60, "vae_lightning.train", *settings)
    lines = [line for line in re.split(r"[\r\n]+", STYLES.sub("", shown)) if line]
    assert lines[0].startswith("vae_lightning ")
    assert "loading torch and Lightning" in lines[1]
    long = [line for line in lines if len(line) > 60]
    assert all(" " not in line[12:] for line in long), long  # a path, which is to be copied
    assert any("images/s" in line and "left" in line for line in lines)

    log = (tmp_path / "a_run" / "train.log").read_text(encoding="utf-8")
    assert "\x1b" not in log
    assert "images/s" not in log
    assert "━ " not in log  # a bar
    assert "warning: 11 steps of the optimiser in all are few" in log
    assert re.search(r"^epoch 1/1  elbo -[\d.]+  val/elbo -[\d.]+  [\d.]+ s$", log, re.M)
    assert re.search(r"test bound, K = 20 +│ +-[\d.]+", log)
    assert re.search(
        r"^trained +20 latent dimensions, ImportanceWeighted with K = 20, Adam", log, re.M
    )
    assert re.search(r"^best +epoch 1, by val/elbo -[\d.]+$", log, re.M)
    assert re.search(r"^expected +not compared, .*data.name=digits", log, re.M)
