"""Fixtures that more than one test file uses."""

import os

# Before anything loads torch: threads of processes that share a few cores wait for each other, and
# models as small as these gain nothing from them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import gzip
import hashlib
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

# A run on real data that takes about a second, on any machine.
DIGITS = ("data=digits", "trainer=cpu")
MINIMAL = ("callbacks=minimal", "logger=none")

# Stops a hang; a run takes some seconds.
TIMEOUT_SECONDS = 300


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """No test downloads anything, here or in a subprocess: the proxy's port is closed."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            patch.setenv(name, "http://127.0.0.1:9")
        for name in ("no_proxy", "NO_PROXY"):
            patch.setenv(name, "127.0.0.1")
        for name in ("VAE_LIGHTNING_DATA", "HYDRA_FULL_ERROR"):
            patch.delenv(name, raising=False)
        yield


def run_python(
    *args: str, cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


class RunCommand(Protocol):
    def __call__(
        self,
        *args: str,
        module: str = "vae_lightning.train",
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def run_command(tmp_path: Path) -> RunCommand:
    """Runs a command as its user does, by default in an empty folder."""

    def run(
        *args: str,
        module: str = "vae_lightning.train",
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        return run_python("-m", module, *args, cwd=cwd or tmp_path, env=env)

    return run


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str


class CallCommand(Protocol):
    def __call__(self, *args: str, command: str = "train") -> Outcome: ...


@pytest.fixture
def call_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CallCommand:
    """Runs a command in this process, where the imports are paid for, and in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*args: str, command: str = "train") -> Outcome:
        main = importlib.import_module(f"vae_lightning.{command}").main
        monkeypatch.setattr(sys, "argv", [command, *args])
        capsys.readouterr()
        status = 0
        try:
            main()
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
        return Outcome(status, *capsys.readouterr())

    return call


@pytest.fixture
def call_train(call_command: CallCommand) -> CallCommand:
    """Runs `train` in this process and in an empty folder."""
    return call_command


@dataclass(frozen=True)
class FinishedRun:
    process: subprocess.CompletedProcess[str]
    cwd: Path
    folder: Path
    metrics: dict[str, Any]


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Two epochs on the digits with every callback, as `python -m vae_lightning.train`."""
    cwd = tmp_path_factory.mktemp("finished")
    options = (*DIGITS, "trainer.max_epochs=2", "data.eval_batch_size=100")
    process = run_python("-m", "vae_lightning.train", *options, cwd=cwd)
    assert process.returncode == 0, process.stderr
    (folder,) = (cwd / "outputs" / "train" / "runs").iterdir()
    return FinishedRun(process, cwd, folder, read_metrics(folder))


def read_metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """The repository's data folder, where it holds the real MNIST."""
    root = Path(__file__).parents[1] / "data"
    if not any((root / "MNIST" / "raw").glob("*-ubyte*")):
        pytest.skip("the real MNIST is not in data/MNIST/raw")
    return root


def idx_bytes(values: bytes, *shape: int) -> bytes:
    """A file of MNIST's format: magic number, sizes, values."""
    sizes = b"".join(size.to_bytes(4, "big") for size in shape)
    return bytes([0, 0, 8, len(shape)]) + sizes + values


def write_fake_mnist(root: Path, *, raw: bool = True, archives: bool = False) -> dict[str, str]:
    """Four files of MNIST's names with 5 training and 3 test images; pixel (0, 0) is the label.

    Returns the checksums of the .gz files, by name.
    """
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    checksums = {}
    for split, count in (("train", 5), ("t10k", 3)):
        images = b"".join(bytes([label, *([200] * 783)]) for label in range(count))
        contents = {
            f"{split}-images-idx3-ubyte": idx_bytes(images, count, 28, 28),
            f"{split}-labels-idx1-ubyte": idx_bytes(bytes(range(count)), count),
        }
        for name, content in contents.items():
            if raw:
                (folder / name).write_bytes(content)
            if archives:
                archive = gzip.compress(content)
                (folder / f"{name}.gz").write_bytes(archive)
                checksums[f"{name}.gz"] = hashlib.md5(archive).hexdigest()
    return checksums
