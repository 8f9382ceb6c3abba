"""Options from outside of the package, as docs/extending.md has them: the guide's own files."""

import json
import re
from pathlib import Path

import pytest

from conftest import DIGITS, MINIMAL, RunCommand

GUIDE = Path(__file__).parents[2] / "docs" / "extending.md"


@pytest.fixture
def own_option(tmp_path: Path) -> dict[str, str]:
    """The guide's files in an empty folder, and the environment that it asks for."""
    for language, name in (
        ("python", "mine/student_t.py"),
        ("yaml", "conf_of_mine/model/likelihood/student_t.yaml"),
    ):
        (text,) = re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(), re.DOTALL)
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        file.write_text(text)
    return {"VAE_LIGHTNING_PACKAGES": "mine"}


ASKED = ("--config-dir", "conf_of_mine", "model/likelihood=student_t")


def test_the_guides_likelihood_trains_and_its_checkpoint_is_evaluated(
    run_command: RunCommand, tmp_path: Path, own_option: dict[str, str]
) -> None:
    short = ("trainer.max_epochs=1", "+trainer.limit_train_batches=2", *MINIMAL, *DIGITS)
    trained = run_command(*ASKED, "model.likelihood.degrees=3.0", *short, env=own_option)
    assert trained.returncode == 0, trained.stderr
    (run,) = tmp_path.glob("outputs/train/runs/*")
    assert "degrees: 3.0" in (run / ".hydra" / "config.yaml").read_text()
    evaluated = run_command(
        f"ckpt_path={run}",
        "parts=[likelihood]",
        "num_samples=5",
        "num_images=8",
        "device=cpu",
        module="vae_lightning.evaluate",
        env=own_option,
    )
    assert evaluated.returncode == 0, evaluated.stderr
    (file,) = run.glob("evaluate/*/metrics.json")
    assert json.loads(file.read_text())["test/nll"] > 0


def test_a_class_of_a_package_that_is_not_trusted_is_refused_in_one_line(
    run_command: RunCommand, tmp_path: Path, own_option: dict[str, str]
) -> None:
    result = run_command(*ASKED, *DIGITS)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "mine.student_t.StudentTPixels may not be built from a configuration" in line
    assert "VAE_LIGHTNING_PACKAGES" in line
    assert not (tmp_path / "outputs").exists()
