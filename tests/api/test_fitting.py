"""Training on arrays."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import vae_lightning as vl
from conftest import CallCommand
from vae_lightning.errors import ConfigError, DivergedError, UserError

PIXELS = load_digits().images[:60] / 16  # (60, 8, 8), in [0, 1]
LABELS = load_digits().target[:60]
QUICK: dict[str, Any] = {"latent_dim": 3, "epochs": 2, "overrides": ["trainer=cpu"]}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the folder of temporary files in it."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files_in(folder: Path) -> list[Path]:
    """All files; torch makes an empty folder among the temporary ones when it is first used."""
    return [path for path in folder.rglob("*") if path.is_file()]


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_a_model_is_trained_without_output_and_files(
    empty_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = vl.fit(PIXELS, **QUICK)
    assert (model.image_shape, model.latent_size, model.training) == ((1, 8, 8), 3, False)
    assert capfd.readouterr() == ("", "")
    assert files_in(empty_folder) == []
    vl.fit(PIXELS, **QUICK, verbose=True)
    assert "epoch 2/2" in capfd.readouterr().out


def test_the_model_is_that_of_data_arrays_in_every_layout_and_type(
    call_train: CallCommand,
) -> None:
    model = vl.fit(PIXELS, **QUICK)
    np.save("images.npy", PIXELS)
    options = ("model.latent_dim=3", "trainer.max_epochs=2", "trainer=cpu", "hydra.run.dir=typed")
    assert call_train("data=arrays", "data.path=images.npy", *options).status == 0
    assert same_weights(model, vl.load("typed"))
    for images in (
        torch.tensor(PIXELS, dtype=torch.float32)[:, None].requires_grad_(),
        np.round(PIXELS * 255).astype(np.uint8)[..., None],
    ):
        assert same_weights(model, vl.fit(images, **QUICK))


def test_a_run_is_kept_in_a_folder_for_all_commands() -> None:
    overrides = ["trainer=cpu", "model=conditional"]
    kept = vl.fit(PIXELS, LABELS, latent_dim=3, epochs=2, overrides=overrides, folder="my run")
    run = vl.load_run("my run")
    assert same_weights(kept, run.model)
    assert kept.num_classes == 10
    assert run.metrics["test/elbo"] < 0
    assert [len(split) for split in (run.data.train, run.data.val, run.data.test)] == [49, 5, 6]
    nll = vl.evaluate(run, parts=["likelihood"], num_samples=2, device="cpu").metrics["test/nll"]
    assert nll > 0
    with pytest.raises(ConfigError, match="my run already holds files: name a new folder"):
        vl.fit(PIXELS, folder="my run")


@pytest.mark.parametrize(
    ("images", "settings", "message"),
    [
        (PIXELS * 16, {}, r"^images holds values from 0 to 16: floats must be in \[0, 1\]"),
        (PIXELS[0], {}, r"^images of float64 and shape \(8, 8\): it must be \(N, H, W\)"),
        (PIXELS.astype(object), {}, "arrays of numbers, not of objects"),
        (PIXELS, {"labels": LABELS[1:]}, r"^labels of shape \(59,\) for 60 images"),
        (PIXELS, {"latent_dim": 0}, r"^model\.latent_dim=0 is out of range"),
        (
            PIXELS,
            {"overrides": ["data.test_size=60"]},
            r"^data\.test_size=60 leaves nothing to train on: the array holds 60",
        ),
    ],
)
def test_what_does_not_fit_is_raised_without_the_name_of_a_file_and_leaves_nothing(
    empty_folder: Path, images: Any, settings: dict[str, Any], message: str
) -> None:
    for folder in (None, "new"):
        with pytest.raises(UserError, match=message) as refused:
            vl.fit(images, folder=folder, **settings)
        assert "npz" not in str(refused.value)
    assert files_in(empty_folder) == []


def test_a_run_that_diverges_names_no_checkpoint_that_is_not_kept() -> None:
    with pytest.raises(DivergedError, match=r"try a smaller optimizer\.lr$"):
        vl.fit(PIXELS, overrides=["optimizer.lr=1e30"])
