"""`python -m vae_lightning.generate` as a user runs it."""

import errno
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import CallCommand, Outcome, RunCommand
from untrained import SMALL, generate_config, run_generate, write_checkpoint
from vae_lightning import __version__, load
from vae_lightning.errors import UserError
from vae_lightning.generation.run import prepare
from vae_lightning.generation.samples import SamplesMode

Call = Callable[..., Outcome]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the folders of some runs on the digits."""
    folder = tmp_path_factory.mktemp("runs")
    sphere = ("model/posterior=von_mises_fisher", "model/prior=uniform_sphere")
    write_run(folder / "run")
    write_run(folder / "conditional", "model=conditional")
    write_run(folder / "sphere", *sphere)
    return folder


@pytest.fixture
def call(tmp_path: Path, runs: Path, call_command: CallCommand) -> Call:
    """Runs `generate` in this process, in a folder with `runs`."""
    shutil.copytree(runs, tmp_path, dirs_exist_ok=True)
    return partial(call_command, command="generate")


def write_run(folder: Path, *overrides: str) -> None:
    write_checkpoint(folder / "checkpoints" / "best.ckpt", *SMALL, *overrides)


def only(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_the_picture_and_generate_json_go_into_the_folder_of_the_run(
    call: Call, tmp_path: Path
) -> None:
    outcome = call("ckpt_path=run", "seed=3")
    assert outcome.status == 0, outcome.err
    folder = only(tmp_path / "run" / "generate")
    facts = json.loads((folder / "generate.json").read_text())
    assert facts["checkpoint"] == str(tmp_path / "run" / "checkpoints" / "best.ckpt")
    assert (facts["seed"], facts["count"], facts["draw_from"]) == (3, 64, "prior")
    picture = (folder / "samples.png").relative_to(tmp_path)
    assert f"wrote  {picture}" in outcome.out
    assert "images" not in outcome.err  # no bar: this is no terminal


def test_the_archive_holds_samples_of_the_checkpoint_that_is_named(
    call: Call, tmp_path: Path
) -> None:
    file = Path("conditional", "checkpoints", "best.ckpt")
    outcome = call(
        f"ckpt_path={file}", "output_dir=here", "mode.format=npz", "mode.classes=[3,5]",
        "mode.count=4",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    with np.load(tmp_path / "here" / "samples.npz") as found:
        labels = torch.from_numpy(found["labels"])
        assert labels.tolist() == [3, 5, 3, 5]
        expected = load(file).mean_images(torch.from_numpy(found["latents"]), labels)
        assert abs(found["images"] - expected.numpy() * 255).max() < 0.51


def test_runs_with_one_seed_write_the_same_bytes_and_another_seed_others(
    runs: Path, tmp_path: Path
) -> None:
    found = []
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        facts = run_generate(
            runs / "run", tmp_path / folder, "samples",
            seed=seed, format="npz", draw_from="mixture", components=3,
        )  # fmt: skip
        assert facts["mixture"]["images"] == facts["mixture"]["of"] < 1797
        found.append((tmp_path / folder / "samples.npz").read_bytes())
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_each_job_of_a_sweep_has_a_folder(call: Call, tmp_path: Path) -> None:
    outcome = call("-m", "ckpt_path=run", "mode.temperature=0.5,1.0", "mode.format=npz")
    assert outcome.status == 0, outcome.err
    sweep = only(tmp_path / "run" / "generate")
    assert sweep.name.startswith("multirun_")
    latents = []
    for job in ("0_temperature=0.5", "1_temperature=1.0"):
        with np.load(sweep / job / "samples.npz") as found:
            latents.append(found["latents"])
    np.testing.assert_allclose(latents[0], 0.5 * latents[1], rtol=1e-6)


def test_the_jobs_of_a_sweep_go_into_the_output_dir(call: Call, tmp_path: Path) -> None:
    outcome = call("-m", "ckpt_path=run", "seed=0,1", "output_dir=swept")
    assert outcome.status == 0, outcome.err
    assert len(list((tmp_path / "swept").glob("*/samples.png"))) == 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["ckpt_path=null"], "ckpt_path is missing: name a checkpoint or the folder of a run"),
        (["ckpt_path=nowhere"], "nowhere does not exist"),
        (["mode=sampels"], "mode=sampels does not exist: did you mean samples?"),
        (["mode.cuont=3"], "cuont is not a key of mode: did you mean count?"),
        (["+mode.cuont=3"], "mode.cuont is not an option of SamplesMode: did you mean count?"),
        (["mode.count=many"], "mode.count=many should be a whole number"),
        (["output_dir=taken"], "output_dir=taken already exists: name a new folder"),
        (["output_dir=notes.txt"], "output_dir=notes.txt already exists"),
        (["~mode"], "mode cannot be left out"),
        (["~output_dir"], "output_dir cannot be left out"),
        (["~seed"], "seed cannot be left out"),
        (["data.rot=x"], "rot is not a key of data: did you mean root?"),
        (["trainer.max_epochs=3"], "trainer.max_epochs is not a key of generate"),
        # Found after the folder was made.
        (["mode.draw_from=mixture", "mode.components=2000"], "mode.components=2000 are too many"),
    ],
)
def test_the_command_refuses_in_one_line_and_writes_no_samples(
    call: Call, tmp_path: Path, args: list[str], message: str
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").touch()
    (tmp_path / "notes.txt").write_text("not a checkpoint")
    outcome = call("ckpt_path=run", *args)
    assert outcome.status == 1
    assert outcome.err.startswith(f"error: {message}")
    assert len(outcome.err.splitlines()) == 1
    assert list(tmp_path.rglob("samples*")) == []


@pytest.mark.parametrize(
    ("run", "options", "message"),
    [
        ("run", {"count": 0}, "mode.count=0 is out of range: it must be at least 1"),
        ("run", {"count": 20_000}, "mode.count=20000 is too many for one picture"),
        ("run", {"format": "jpg"}, "mode.format=jpg should be one of grid, png, npz"),
        ("run", {"draw_from": "x"}, "mode.draw_from=x should be one of prior, mixture"),
        ("run", {"temperature": -1}, "mode.temperature=-1 is out of range"),
        ("run", {"classes": 3}, "mode.classes=3 should be a list"),
        ("run", {"classes": [3]}, "mode.classes=[3]: this model is not conditional"),
        ("run", {"seed": -1}, "seed=-1 is out of range"),
        ("conditional", {"classes": [12]}, "mode.classes=[12]: class 12 does not exist"),
        (
            "sphere",
            {"temperature": 0.5},
            "mode.temperature=0.5 is not defined for this model's prior, a HypersphericalUniform",
        ),
        ("sphere", {"draw_from": "mixture"}, "mode.draw_from=mixture needs real vectors"),
        ("empty", {}, "empty holds no checkpoint"),
        ("notes.txt", {}, "notes.txt is not a checkpoint, or is cut short"),
        ("cut.ckpt", {}, "cut.ckpt is not a checkpoint, or is cut short"),
        ("foreign.ckpt", {}, "foreign.ckpt was not written by vae_lightning"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: str,
    options: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("notes.txt").write_text("not a checkpoint")
    whole = (runs / "run" / "checkpoints" / "best.ckpt").read_bytes()
    Path("cut.ckpt").write_bytes(whole[: len(whole) // 2])
    torch.save({"state_dict": {}}, "foreign.ckpt")
    checkpoint = runs / run if (runs / run).exists() else Path(run)
    with pytest.raises(UserError) as error:
        prepare(generate_config(checkpoint, "new", "samples", **options))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
    assert not Path("new").exists()


@pytest.mark.parametrize("key", ["ckpt_path", "task_name", "data"])
def test_a_key_of_the_configuration_cannot_be_left_out(runs: Path, key: str) -> None:
    config = generate_config(runs / "run", "new", "samples")
    del config[key]
    with pytest.raises(UserError, match=f"^{key} cannot be left out"):
        prepare(config)


def test_an_unknown_device_is_refused_with_the_nearest_name(runs: Path) -> None:
    config = generate_config(runs / "run", "new", "samples") | {"device": "gup"}
    with pytest.raises(UserError, match=r"^device=gup is no device: did you mean gpu\?"):
        prepare(config)


def test_an_error_about_a_checkpoint_of_another_version_names_that_version(
    call: Call, tmp_path: Path
) -> None:
    file = tmp_path / "run" / "checkpoints" / "best.ckpt"
    content = torch.load(file, weights_only=True)
    content["vae_lightning_version"] = "0.0.7"
    torch.save(content, file)
    assert call("ckpt_path=run").status == 0  # it fits all the same

    content["config"]["model"]["latent_size"] = content["config"]["model"].pop("latent_dim")
    torch.save(content, file)
    outcome = call("ckpt_path=run")
    assert outcome.status == 1
    assert len(outcome.err.splitlines()) == 1
    assert f"{Path('run/checkpoints/best.ckpt')} cannot be rebuilt" in outcome.err
    assert f"(written by vae_lightning 0.0.7, this is {__version__})" in outcome.err
    assert "latent_size is not an option of VAE: did you mean latent_dim?" in outcome.err


def test_a_full_disk_is_one_line_that_names_the_key_to_change(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(SamplesMode, "make", full)
    outcome = call("ckpt_path=run", "output_dir=here")
    assert outcome.status == 1
    assert "No space left on device: free some space, or set output_dir to" in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_an_interrupt_ends_without_a_traceback(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SamplesMode, "make", interrupted)
    outcome = call("ckpt_path=run", "output_dir=here")
    assert (outcome.status, outcome.err) == (130, "interrupted\n")


def test_help_lists_the_modes_and_answers_without_torch(
    run_command: RunCommand, tmp_path: Path
) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('torch is not to be loaded')")
    process = run_command("--help", module="vae_lightning.generate")
    assert process.returncode == 0, process.stderr
    assert "samples" in process.stdout
    assert "mode.draw_from=prior" in process.stdout
