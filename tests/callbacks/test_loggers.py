"""Pictures, settings and refusals of the loggers other than TensorBoard."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, WandbLogger
from PIL import Image

from conftest import DIGITS, CallCommand
from vae_lightning.callbacks import loggers
from vae_lightning.config import compose, to_container
from vae_lightning.errors import ConfigError, UserError
from vae_lightning.training.build import build

FAST = (*DIGITS, "trainer.max_epochs=2", "data.eval_batch_size=100", "model.encoder.hidden=[4]")


class FakeWandb(WandbLogger):
    """W&B's logger without its package."""

    def __init__(self) -> None:
        self.logged: list[Any] = []

    def log_image(self, key: str, images: list[Any], *args: Any, **kwargs: Any) -> None:
        self.logged.append(("image", key, images, *args))

    def log_video(self, key: str, videos: list[Any], *args: Any, **kwargs: Any) -> None:
        self.logged.append(("video", key, videos, *args))

    def log_hyperparams(self, params: Any) -> None:
        self.logged.append(params)


class FakeMLFlow(MLFlowLogger):
    """MLflow's logger, and its client, without its package."""

    run_id = "run"

    def __init__(self) -> None:
        self.logged: list[Any] = []

    @property
    def experiment(self) -> Any:
        return self

    def log_image(self, run_id: str, image: Any, key: str, step: int) -> None:
        self.logged.append((run_id, image.size, key, step))

    def log_artifact(self, run_id: str, path: str, folder: str) -> None:
        self.logged.append((run_id, path, folder))


def test_pictures_go_to_every_logger_that_can_show_them(tmp_path: Path) -> None:
    picture, film = tmp_path / "a.png", tmp_path / "a.gif"
    for file in (picture, film):
        Image.new("L", (7, 5)).save(file)
    wandb, mlflow = FakeWandb(), FakeMLFlow()
    used = [CSVLogger(tmp_path), wandb, mlflow]
    loggers.log_picture(used, "test/samples", picture, 3)
    loggers.log_picture(used, "film", film, 4)
    assert wandb.logged == [
        ("image", "test/samples", [str(picture)], 3),
        ("video", "film", [str(film)], 4),
    ]
    assert mlflow.logged == [("run", (7, 5), "test/samples", 3), ("run", str(film), "film")]


def test_each_job_of_a_sweep_has_a_run_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = FakeWandb()
    package: Any = ModuleType("wandb")
    package.finish = lambda: logger.logged.append("finished")
    monkeypatch.setitem(sys.modules, "wandb", package)
    with pytest.raises(RuntimeError), loggers.opened([logger], {"seed": 1}):
        raise RuntimeError
    assert logger.logged == [{"seed": 1}, "finished"]


def test_a_logger_that_cannot_log_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class UsageError(Exception):
        __module__ = "wandb.errors"

    class Refusing(FakeWandb):
        def log_hyperparams(self, params: Any) -> None:
            raise UsageError("No API key configured. Use `wandb login` to log in.\nmore")

    package: Any = ModuleType("wandb")
    package.finish = lambda: None
    monkeypatch.setitem(sys.modules, "wandb", package)
    with pytest.raises(UserError) as error, loggers.opened([Refusing()], {}):
        pass
    assert str(error.value) == (
        "logger=wandb: No API key configured. Use `wandb login` to log in, or keep the run on this "
        "machine: WANDB_MODE=offline"
    )


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_logger_whose_package_is_missing_is_refused_with_how_to_install_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda package: None)
    choice = f"logger=[tensorboard,{name}]"
    config = to_container(compose("train", [*DIGITS, choice, "paths.run_dir=unused"]))
    with pytest.raises(ConfigError) as error:
        build(config)
    assert str(error.value) == (
        f"logger={name} needs {name}, not installed here: "
        f"pip install -e '.[{name}]' in the folder of the project"
    )


# With the packages themselves, which take 400 MB: where they are installed.


def test_wandb_keeps_each_job_of_a_sweep_as_a_run(
    call_command: CallCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert call_command("-m", *FAST, "logger=wandb", "seed=0,1").status == 0
    files = [file.as_posix() for file in tmp_path.rglob("wandb/offline-run-*/files/media/**/*")]
    for job in range(2):
        media = [file for file in files if f"/{job}_digits/" in file]
        assert any("images/test/samples" in file for file in media)
        assert any("videos/samples_over_epochs" in file for file in media)


def test_mlflow_has_the_metrics_settings_and_pictures_of_a_run(
    call_command: CallCommand, tmp_path: Path
) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("alembic")  # that of mlflow, and not of mlflow-skinny
    assert call_command(*FAST, "logger=mlflow", "seed=3").status == 0
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/outputs/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("train").experiment_id])
    assert {"train/elbo", "val/elbo", "test/elbo"} <= run.data.metrics.keys()
    assert run.data.params["seed"] == "3"
    assert run.info.status == "FINISHED"
    images = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
    assert any("test~samples" in path for path in images)
    assert client.list_artifacts(run.info.run_id, "samples_over_epochs")
