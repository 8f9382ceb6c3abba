import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def _pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *arguments], check=True, timeout=300)


def test_an_installed_wheel_trains_from_any_folder(tmp_path: Path) -> None:
    _pip("wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(REPOSITORY))
    (wheel,) = tmp_path.glob("vae_lightning-*.whl")
    site = tmp_path / "site"
    _pip("install", "--no-deps", "--target", str(site), str(wheel))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}

    def python(*arguments: str) -> str:
        result = subprocess.run(
            [sys.executable, *arguments],
            cwd=elsewhere,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    where = python("-c", "from vae_lightning import config; print(config.CONF_DIR)")
    assert where.strip() == str(site / "vae_lightning" / "conf")
    assert "train " in python(str(site / "bin" / "vae-lightning"))
    output = python(
        "-m",
        "vae_lightning.train",
        "data=digits",
        "trainer=cpu",
        "trainer.max_epochs=1",
        "callbacks=minimal",
    )
    assert "test elbo" in output
    assert list(elsewhere.glob("outputs/train/runs/*_digits/metrics.json"))
