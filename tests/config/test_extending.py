"""Options from outside of the package, as docs/extending.md has them: the guide's own files."""

import re
import sys
from pathlib import Path

import pytest

from conftest import DIGITS, MINIMAL, CallCommand, read_metrics

GUIDE = Path(__file__).parents[2] / "docs" / "extending.md"


@pytest.fixture
def own_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide's files in the working directory, from which Python imports."""
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("mine", "mine.student_t"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for language, name in (
        ("python", "mine/student_t.py"),
        ("yaml", "conf_of_mine/model/likelihood/student_t.yaml"),
    ):
        (text,) = re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(), re.DOTALL)
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        file.write_text(text)


ASKED = ("--config-dir", "conf_of_mine", "model/likelihood=student_t")


def test_the_guides_likelihood_trains_and_its_checkpoint_is_evaluated(
    call_command: CallCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_option: None
) -> None:
    monkeypatch.setenv("VAE_LIGHTNING_PACKAGES", "mine")
    short = ("trainer.max_epochs=1", "+trainer.limit_train_batches=2", *MINIMAL, *DIGITS)
    trained = call_command(*ASKED, "model.likelihood.degrees=3.0", *short)
    assert trained.status == 0, trained.err
    (run,) = tmp_path.glob("outputs/train/runs/*")
    assert "degrees: 3.0" in (run / ".hydra" / "config.yaml").read_text()
    options = ("parts=[likelihood]", "num_samples=5", "num_images=8", "device=cpu")
    evaluated = call_command(f"ckpt_path={run}", *options, command="evaluate")
    assert evaluated.status == 0, evaluated.err
    (folder,) = (run / "evaluate").iterdir()
    assert read_metrics(folder)["test/nll"] > 0


def test_a_class_of_a_package_that_is_not_trusted_is_refused_in_one_line(
    call_command: CallCommand, own_option: None
) -> None:
    result = call_command(*ASKED, *DIGITS)
    assert result.status == 1
    (line,) = result.err.splitlines()
    assert "mine.student_t.StudentTPixels may not be built from a configuration" in line
    assert "VAE_LIGHTNING_PACKAGES" in line
