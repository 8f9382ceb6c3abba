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
from vae_lightning import __version__, load
from vae_lightning.config import compose, instantiate, to_container
from vae_lightning.generation.samples import Samples

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
    """A run's folder with its checkpoint, of a small model that was never trained."""
    small = (
        "data=digits", "data.size=8", "model.latent_dim=2", "paths.run_dir=unused",
        "model.encoder.hidden=[8]", "model.decoder.hidden=[8]",
    )  # fmt: skip
    config = to_container(compose("train", [*small, *overrides]))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = instantiate(config["model"], "model")
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    content = {"config": config, "state_dict": weights, "vae_lightning_version": __version__}
    file = folder / "checkpoints" / "best.ckpt"
    file.parent.mkdir(parents=True)
    torch.save(content, file)


def only(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_pictures_and_facts_go_into_the_folder_of_the_run(call: Call, tmp_path: Path) -> None:
    outcome = call("ckpt_path=run", "seed=3")
    assert outcome.status == 0, outcome.err
    folder = only(tmp_path / "run" / "generate")
    facts = json.loads((folder / "generate.json").read_text())
    assert facts["checkpoint"] == str(Path("run/checkpoints/best.ckpt"))
    assert (facts["seed"], facts["count"], facts["draw_from"]) == (3, 64, "prior")
    picture = (folder / "samples.png").relative_to(tmp_path)
    assert f"wrote  {picture}" in outcome.out
    assert "images" not in outcome.err  # no bar: this is no terminal


def test_the_archive_is_of_the_checkpoint_that_was_named(call: Call, tmp_path: Path) -> None:
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


def test_two_runs_agree_to_the_last_byte_and_another_seed_does_not(
    call: Call, tmp_path: Path
) -> None:
    options = ("ckpt_path=run", "mode.format=npz", "mode.draw_from=mixture", "mode.components=3")
    found = []
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        outcome = call(*options, f"output_dir={folder}", f"seed={seed}")
        assert outcome.status == 0, outcome.err
        found.append((tmp_path / folder / "samples.npz").read_bytes())
    assert found[0] == found[1]
    assert found[0] != found[2]
    facts = json.loads((tmp_path / "a" / "generate.json").read_text())
    assert facts["mixture"]["images"] == facts["mixture"]["of"] < 1797


def test_a_sweep_over_temperatures_makes_a_folder_for_each(call: Call, tmp_path: Path) -> None:
    outcome = call("-m", "ckpt_path=run", "mode.temperature=0.5,1.0", "mode.format=npz")
    assert outcome.status == 0, outcome.err
    sweep = only(tmp_path / "run" / "generate")
    assert sweep.name.startswith("multirun_")
    latents = []
    for job in ("0", "1"):
        with np.load(sweep / job / "samples.npz") as found:
            latents.append(found["latents"])
    np.testing.assert_allclose(latents[0], 0.5 * latents[1], rtol=1e-6)
    named = call("-m", "ckpt_path=run", "seed=0,1", "output_dir=swept")
    assert named.status == 0, named.err
    assert {path.name for path in (tmp_path / "swept").glob("*/samples.png")} == {"samples.png"}
    assert len(list((tmp_path / "swept").glob("*/samples.png"))) == 2


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["ckpt_path=null"], "ckpt_path is missing: name a checkpoint or the folder of a run"),
        (["ckpt_path=nowhere"], "nowhere does not exist"),
        (["ckpt_path=empty"], "empty holds no checkpoint"),
        (["ckpt_path=notes.txt"], "notes.txt is not a checkpoint, or is cut short"),
        (["ckpt_path=cut.ckpt"], "cut.ckpt is not a checkpoint, or is cut short"),
        (["ckpt_path=foreign.ckpt"], "foreign.ckpt was not written by vae_lightning"),
        (["mode=sampels"], "mode=sampels does not exist: did you mean samples?"),
        (["mode.cuont=3"], "cuont is not a key of mode: did you mean count?"),
        (["+mode.cuont=3"], "mode.cuont is not an option of Samples: did you mean count?"),
        (["mode.count=0"], "mode.count=0 is out of range: it must be at least 1"),
        (["mode.count=many"], "mode.count=many should be a whole number"),
        (["mode.count=20000"], "mode.count=20000 is too many for one picture"),
        (["mode.format=jpg"], "mode.format=jpg should be one of grid, png, npz"),
        (["mode.draw_from=posterior"], "mode.draw_from=posterior should be one of prior, mixture"),
        (["mode.temperature=-1"], "mode.temperature=-1 is out of range"),
        (["mode.classes=3"], "mode.classes=3 should be a list"),
        (["mode.classes=[3]"], "mode.classes=[3]: this model knows no classes"),
        (
            ["ckpt_path=conditional", "mode.classes=[12]"],
            "mode.classes=[12]: class 12 does not exist: they are 0 to 9",
        ),
        (
            ["ckpt_path=sphere", "mode.temperature=0.5"],
            "mode.temperature=0.5: this model's prior, a HypersphericalUniform, is drawn from",
        ),
        (["ckpt_path=sphere", "mode.draw_from=mixture"], "mode.draw_from=mixture is of normals"),
        (["output_dir=taken"], "output_dir=taken already exists: name a new folder"),
        (["output_dir=notes.txt"], "output_dir=notes.txt already exists"),
        *(
            ([f"~{key}"], f"{key} cannot be left out")
            for key in ("mode", "seed", "output_dir", "ckpt_path", "task_name", "data")
        ),
        (["seed=-1"], "seed=-1 is out of range"),
        (["device=gup"], "device=gup is no device: did you mean gpu?"),
        (["data.rot=x"], "rot is not a key of data: did you mean root?"),
        (
            ["trainer.max_epochs=3"],
            "trainer.max_epochs is not a key of generate",
        ),
        (["mode.draw_from=mixture", "mode.components=2000"], "mode.components=2000 are too many"),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_line(
    call: Call, tmp_path: Path, args: list[str], said: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").touch()
    (tmp_path / "notes.txt").write_text("not a checkpoint")
    whole = (tmp_path / "run" / "checkpoints" / "best.ckpt").read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(whole[: len(whole) // 2])
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    outcome = call("ckpt_path=run", *args)
    assert outcome.status == 1
    assert outcome.err.startswith(f"error: {said}")
    assert len(outcome.err.splitlines()) == 1
    made = list(tmp_path.rglob("samples*"))
    assert made == []


def test_of_a_checkpoint_of_another_version_is_said_which_wrote_it(
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

    monkeypatch.setattr(Samples, "make", full)
    outcome = call("ckpt_path=run", "output_dir=here")
    assert outcome.status == 1
    assert "No space left on device: free some space, or set output_dir to" in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_an_interrupt_ends_without_a_traceback(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Samples, "make", interrupted)
    outcome = call("ckpt_path=run", "output_dir=here")
    assert (outcome.status, outcome.err) == (130, "interrupted\n")


def test_help_lists_the_modes_and_answers_without_torch(
    run_command: RunCommand, tmp_path: Path
) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('torch is not to be loaded')")
    process = run_command("--help", module="vae_lightning.generate")
    assert process.returncode == 0, process.stderr
    assert "samples" in process.stdout
    assert "draw_from: prior" in process.stdout
