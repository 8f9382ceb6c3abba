"""What the modes refuse before anything is written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import CallCommand
from untrained import generate_config, write_checkpoint, write_digits
from vae_lightning.errors import ConfigError, UserError
from vae_lightning.generation.run import prepare

CONDITIONAL = ("model=conditional",)
SPHERE = ("model/posterior=von_mises_fisher", "model/prior=uniform_sphere")
CATEGORICAL = (
    "model/posterior=relaxed_categorical",
    "model/prior=uniform_categorical",
    "model.latent_dim=20",
)


@pytest.mark.parametrize(
    ("model", "mode", "options", "message"),
    [
        ((), "reconstruct", {"count": 0}, "mode.count=0 is out of range"),
        (
            (),
            "reconstruct",
            {"count": 361},
            "mode.count=361 is out of range: the test split has 360 images",
        ),
        ((), "reconstruct", {"split": "dev"}, "mode.split=dev"),
        ((), "reconstruct", {"input": "nowhere"}, "nowhere does not exist"),
        ((), "reconstruct", {"input": "empty"}, "empty holds no image"),
        (
            (),
            "reconstruct",
            {"input": "own", "count": 4},
            "mode.count=4 is too many: input has 3 images",
        ),
        ((), "reconstruct", {"classes": [1]}, "mode.classes=[1]: the images of a split"),
        (
            (),
            "reconstruct",
            {"input": "own", "classes": [1]},
            "mode.classes=[1]: this model is not conditional",
        ),
        (CONDITIONAL, "reconstruct", {"input": "own"}, "mode.classes is missing"),
        (
            CONDITIONAL,
            "reconstruct",
            {"input": "own", "classes": [1, 2]},
            "mode.classes=[1, 2] has 2 classes for 3 images",
        ),
        (
            CONDITIONAL,
            "reconstruct",
            {"input": "own", "classes": [12]},
            "mode.classes=[12, 12, 12]: class 12 does not exist: they are 0 to 9",
        ),
        (
            (),
            "interpolate",
            {"images": [3]},
            "mode.images=[3]: name the indices of two images or more",
        ),
        (
            (),
            "interpolate",
            {"images": [3, 360]},
            "mode.images=[3, 360] is out of range: the test split has 360 images, with "
            "indices 0 to 359",
        ),
        ((), "interpolate", {"images": [0, -1]}, "mode.images=[0, -1] is out of range"),
        ((), "interpolate", {"input": "own/0.png"}, "mode.input has one image"),
        (
            (),
            "interpolate",
            {"input": "own", "images": [0, 1]},
            "mode.images=[0, 1] and mode.input exclude each other",
        ),
        ((), "interpolate", {"classes": [3]}, "mode.classes=[3]: name two classes or more"),
        ((), "interpolate", {"classes": [3, 10]}, "mode.classes=[3, 10]: class 10 does not exist"),
        (
            CONDITIONAL,
            "interpolate",
            {"classes": [3, 10]},
            "mode.classes=[3, 10]: class 10 does not exist",
        ),
        (
            (),
            "interpolate",
            {"classes": [3, 4], "images": [0]},
            "mode.classes=[3, 4]: this model is not conditional",
        ),
        ((), "interpolate", {"path": "sperical"}, "mode.path=sperical"),
        (
            SPHERE,
            "interpolate",
            {"path": "linear"},
            "mode.path=linear leaves the sphere of the latents: choose mode.path=spherical",
        ),
        ((), "interpolate", {"steps": 1}, "mode.steps=1 is out of range"),
        ((), "interpolate", {"seconds": 0}, "mode.seconds=0 is out of range"),
        ((), "traverse", {"start": 360}, "mode.start=360 is out of range"),
        ((), "traverse", {"start": "own"}, "mode.start=own has 3 images"),
        ((), "traverse", {"spread": "posterior"}, "mode.spread=posterior"),
        (CONDITIONAL, "traverse", {"start": "centre"}, "mode.label is missing"),
        ((), "traverse", {"start": "centre", "label": 1}, "mode.label=1"),
        (SPHERE, "traverse", {}, "mode: this model's latents are on a sphere"),
        (SPHERE, "manifold", {}, "mode: this model's latents are on a sphere"),
        (CATEGORICAL, "manifold", {}, "mode: this model's latents are categories"),
        (CONDITIONAL, "manifold", {}, "mode.label is missing"),
        (
            ("model.latent_dim=1",),
            "manifold",
            {},
            "mode.count: this model has one latent dimension: use mode=traverse",
        ),
        ((), "manifold", {"count": 1}, "mode.count=1 is out of range"),
        (("data.val_size=0",), "traverse", {"split": "val"}, "mode.split=val is empty"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(
    checkpoints: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: tuple[str, ...],
    mode: str,
    options: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if options.get("input", options.get("start")) in ("own", "own/0.png"):
        write_digits(tmp_path / "own", 3)
    Path("empty").mkdir()
    with pytest.raises(UserError) as error:
        prepare(generate_config(checkpoints(*model), "results", mode, **options))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["mode=interpolte"], "did you mean interpolate?"),
        (["mode=interpolate", "mode.images=[3,360]"], "mode.images=[3, 360] is out of range"),
    ],
)
def test_the_command_prints_a_refusal_in_one_line_and_writes_nothing(
    call_command: CallCommand, checkpoints: Callable[..., Path], args: list[str], message: str
) -> None:
    arguments = [f"ckpt_path={checkpoints()}", "output_dir=results", *args]
    outcome = call_command(*arguments, command="generate")
    assert outcome.status == 1
    assert outcome.err.startswith("error: ")
    assert message in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not Path("results").exists()


def test_codes_cannot_be_traversed(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "codes.ckpt", "data=digits", "experiment=vq_vae")
    with pytest.raises(ConfigError, match=r"^mode: this model's latents are codes"):
        prepare(generate_config(checkpoint, tmp_path / "results", "traverse"))
