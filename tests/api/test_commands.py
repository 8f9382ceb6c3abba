"""The commands as Python functions."""

import gc
import logging
import os
import random
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

import vae_lightning as vl
from conftest import CallCommand
from vae_lightning.api.overrides import override
from vae_lightning.api.process import kept_state
from vae_lightning.cli.lightning_settings import LOGGERS
from vae_lightning.config import compose
from vae_lightning.errors import CheckpointError, ConfigError

SMALL = ("data=digits", "data.size=8", "trainer=cpu", "trainer.max_epochs=1")
QUIET = ("callbacks=minimal", "logger=none")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> vl.Run:
    """One epoch on small digits without zeros."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("run"))
        return vl.train(*SMALL, *QUIET, "data.held_out=[0]")


def test_a_run_is_that_of_the_command_line_in_its_folder_and_can_be_repeated(
    tmp_path: Path, call_train: CallCommand
) -> None:
    assert call_train(*SMALL, *QUIET, "hydra.run.dir=typed").status == 0
    runs = [vl.train(*SMALL[1:], *QUIET, data="digits") for _ in range(2)]
    for run in runs:
        assert run.folder.parent == tmp_path / "outputs" / "train" / "runs"
        typed = vl.load_run("typed")
        assert run.metrics["test/elbo"] == typed.metrics["test/elbo"]
        weights = zip(run.model.parameters(), typed.model.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in weights)
    assert runs[0].folder != runs[1].folder


def test_a_run_holds_its_images_by_split(run: vl.Run) -> None:
    data = run.data
    sizes = [len(split) for split in (data.train, data.val, data.test, data.held_out)]
    assert sizes == [1157, 137, 325, 35]
    assert (data.test.images.shape, data.test.images.dtype) == ((325, 1, 8, 8), torch.float32)
    assert 0 == data.train.images.min() < data.train.images.max() == 1
    assert set(data.held_out.labels.tolist()) == {0}
    assert set(data.val.labels.tolist()) == set(range(1, 10))
    assert list(data.class_names) == list("0123456789")
    elbo = run.model.log_likelihood(data.test.images, 1).mean()
    assert float(elbo) == pytest.approx(run.metrics["test/elbo"], rel=0.01)


def test_a_run_is_read_again_from_its_folder_and_taken_for_its_path(run: vl.Run) -> None:
    again = vl.load_run(run.folder)
    assert again.metrics == run.metrics
    assert again.config["data"]["held_out"] == [0]
    assert vl.load(run).image_shape == (1, 8, 8)
    assert repr(again) == f"Run({str(run.folder)!r})"
    best = run.folder / "checkpoints" / "best.ckpt"
    assert best in run.files
    with pytest.raises(CheckpointError, match=r"best\.ckpt is a file: name the folder of its run"):
        vl.load_run(best)
    with pytest.raises(CheckpointError, match="nowhere does not exist"):
        vl.load_run("nowhere")
    with pytest.raises(CheckpointError, match="is not the folder of a run"):
        vl.load_run(run.folder.parent)


def test_commands_on_a_run_return_their_folder_metrics_and_files(run: vl.Run) -> None:
    found = vl.evaluate(run, num_samples=2, parts=["likelihood"], device="cpu")
    assert found.folder.parent == run.folder / "evaluate"
    assert found.metrics["test/nll"] < -found.metrics["test/elbo"]
    samples = vl.generate(run.folder, "mode.count=4", mode="samples", device="cpu")
    assert [file.name for file in samples.files] == ["generate.json", "samples.png"]
    scores = vl.detect(run, "detect.num_samples=2", device="cpu")
    assert scores.metrics["protocol"]["held_out"] == [0]
    assert "scores.csv" in [file.name for file in scores.files]
    exported = vl.export(run, output_dir=run.folder / "there")
    assert exported.folder == run.folder / "there"
    assert "encoder.onnx" in [file.name for file in exported.files]


REFUSED: list[tuple[tuple[str, ...], dict[str, Any], str]] = [
    ((), {"sede": 1}, "sede is not a key of the configuration: did you mean seed"),
    (("model.latent_dim=0",), {}, r"model\.latent_dim=0 is out of range"),
    (("-m", "seed=0,1"), {}, "-m is a flag of the command line: vae_lightning.train takes"),
    (("--help",), {}, "--help is a flag of the command line"),
    (("seed=0,1",), {}, "seed=0,1 has several values: .* call it once for each value"),
    (("hydra.mode=MULTIRUN", "hparams_search=latent_dim"), {}, "hydra.mode=MULTIRUN is a sweep"),
    (("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"), {}, "set trainer.devices=1"),
    (("seed",), {}, "seed is not a setting: settings are written key=value"),
    ((), {"tags": {1, 2}}, "is a set: give a number, text or a list"),
]


@pytest.mark.parametrize(("overrides", "settings", "message"), REFUSED)
def test_what_does_not_fit_is_raised_before_anything_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    overrides: tuple[str, ...],
    settings: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message) as refused:
        vl.train(*SMALL, *overrides, **settings)
    assert "\n" not in str(refused.value)
    assert (list(tmp_path.iterdir()), capsys.readouterr()) == ([], ("", ""))


def test_commands_on_a_run_refuse_what_does_not_fit(run: vl.Run) -> None:
    with pytest.raises(CheckpointError, match="nowhere does not exist"):
        vl.evaluate("nowhere")
    with pytest.raises(ConfigError, match=r"num_smaples .* did you mean num_samples"):
        vl.evaluate(run, num_smaples=3)
    with pytest.raises(ConfigError, match="devices=1, or use the command line"):
        vl.evaluate(run, devices=2, device="cpu")


def process_state() -> dict[str, Any]:
    hydra = GlobalHydra.instance()
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": np.random.get_state()[1].tolist(),  # type: ignore[index]  # noqa: NPY002
        "python": random.getstate(),
        "threads": torch.get_num_threads(),
        "precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "gradients": torch.is_grad_enabled(),
        "frozen": gc.get_freeze_count() > 0,
        "filters": list(warnings.filters),
        "format": warnings.formatwarning,
        "levels": [logging.getLogger(name).level for name in LOGGERS],
        "environment": dict(os.environ),
        "argv": (sys.argv, list(sys.argv)),
        "hydra": hydra.hydra,
        "folder": Path.cwd(),
        "interrupt": signal.getsignal(signal.SIGINT),
    }


@pytest.mark.parametrize("ends_by", ["returning", "refusal", "divergence", "interrupt"])
def test_a_run_leaves_the_process_as_it_was(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    run: vl.Run,  # has imported what changes the process when it is imported
    ends_by: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in LOGGERS:
        caplog.set_level(logging.INFO, logger=name)
    options = [*SMALL, *QUIET, "trainer.deterministic=true", "hydra.job.chdir=true"]
    error: type[BaseException] | None = None
    if ends_by == "refusal":
        options.append("optimizer.lr=nan")
        error = ConfigError
    elif ends_by == "divergence":
        options += ["optimizer.lr=1e30", "trainer.max_epochs=3"]
        error = vl.UserError
    elif ends_by == "interrupt":

        def interrupted(*_: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("vae_lightning.training.module.VAEModule.training_step", interrupted)
        error = KeyboardInterrupt
    # The caller is a program with a Hydra of its own, frozen objects, and no gradients.
    gc.freeze()
    try:
        with initialize_config_dir(str(tmp_path), version_base="1.3"), torch.no_grad():
            before = process_state()
            if error is None:
                vl.train(*options)
            else:
                with pytest.raises(error):
                    vl.train(*options)
            after = process_state()
    finally:
        gc.unfreeze()
    assert {key for key in before if before[key] != after[key]} == set()


def test_a_command_has_gradients_wherever_it_is_called() -> None:
    for without in (torch.no_grad, torch.inference_mode):
        with without(), kept_state([]):
            assert torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()


def test_python_values_are_settings(tmp_path: Path) -> None:
    values = {
        "seed": np.int64(3),
        "tags": ["1", "null", "a b", 'say "${x}"', "é"],
        "test": False,
        "ckpt_path": None,
        "optimizer.lr": 1e-5,
        "paths.output_dir": tmp_path / "my runs",
        "model.encoder.hidden": (20, 3),
        "callbacks": ["default", "early_stopping"],
        "+trainer.profiler": {"a": [1, True]},
    }
    config = compose("train", [override(key, value) for key, value in values.items()])
    assert (config.seed, config.test, config.ckpt_path) == (3, False, None)
    assert list(config.tags) == values["tags"]
    assert config.optimizer.lr == 1e-5
    assert config.paths.output_dir == str(tmp_path / "my runs")
    assert list(config.model.encoder.hidden) == [20, 3]
    assert "early_stopping" in config.callbacks
    assert config.trainer.profiler == {"a": [1, True]}
