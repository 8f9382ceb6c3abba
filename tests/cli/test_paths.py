"""Paths as they are written: relative, with ~, moved, and with a working directory per job."""

import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import MINIMAL, CallCommand, Outcome, read_metrics, write_fake_mnist
from vae_lightning.checkpoint import Checkpoint
from vae_lightning.cli.error_messages import quoted
from vae_lightning.cli.overrides import parse, without_sweeps
from vae_lightning.data.fingerprint import fingerprint
from vae_lightning.errors import CheckpointError, DataError

TRAIN = (
    "data=image_folder", "data.size=8", "data.channels=1", "trainer=cpu", "trainer.max_epochs=1",
    "model.encoder.hidden=[8]", "model.decoder.hidden=[8]", "model.latent_dim=2", *MINIMAL,
)  # fmt: skip
EVALUATE = ("device=cpu", "num_samples=1", "parts=[likelihood]")
NUMBERS = count()
CallTrain = Callable[..., Outcome]


def write_photos(folder: Path, seed: int, classes: tuple[str, ...] = ("cat", "dog")) -> None:
    generator = np.random.default_rng(seed)
    for number in range(20):
        parent = folder / classes[number % len(classes)]
        parent.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(parent / f"{number:02d}.png")


@pytest.fixture
def project(tmp_path: Path, call_train: CallTrain) -> Path:
    """A folder with photos, and a run that was trained there with a relative path."""
    folder = tmp_path / "project"
    write_photos(folder / "photos", seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        outcome = call_train(*TRAIN, "data.root=photos", "hydra.run.dir=run")
    assert outcome.status == 0, outcome.err
    return folder


def evaluated(call: CallCommand, run: Path, *args: str) -> dict[str, Any]:
    out = run.parent / f"out_{next(NUMBERS)}"
    outcome = call(f"ckpt_path={run}", f"output_dir={out}", *EVALUATE, *args, command="evaluate")
    assert outcome.status == 0, outcome.err
    return read_metrics(out)


def test_a_run_is_evaluated_on_the_images_of_its_training_from_any_folder(
    call_command: CallCommand, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        expected = evaluated(call_command, project / "run")
    write_photos(tmp_path / "other" / "photos", seed=1)
    monkeypatch.chdir(tmp_path / "other")
    found = evaluated(call_command, project / "run")
    assert found["test/nll"] == expected["test/nll"]
    assert found["protocol"]["data_root"] == str(project / "photos")
    assert found["protocol"]["files_of_training"] is True
    # A folder that is named is used, and the result says that the files are others.
    with pytest.warns(UserWarning, match=r"20 files of .* bytes then, 20 files of .* bytes now$"):
        named = evaluated(call_command, project / "run", "data.root=photos")
    assert named["test/nll"] != expected["test/nll"]
    assert named["protocol"]["files_of_training"] is False


@pytest.mark.filterwarnings("error")
def test_a_folder_that_has_moved_is_found_by_its_new_name_or_with_its_project(
    call_command: CallCommand, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = evaluated(call_command, project / "run")["test/nll"]
    moved = project.rename(tmp_path / "moved")
    outcome = call_command(f"ckpt_path={moved / 'run'}", *EVALUATE, command="evaluate")
    (line,) = outcome.err.splitlines()
    assert f"data.root={project / 'photos'} does not exist" in line
    monkeypatch.chdir(moved)
    assert evaluated(call_command, moved / "run")["test/nll"] == expected
    (moved / "photos").rename(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    for root in ("~/elsewhere", "../link"):
        found = evaluated(call_command, moved / "run", f"data.root='{root}'")
        assert found["test/nll"] == expected
        assert found["protocol"]["files_of_training"] is True


@pytest.mark.parametrize("command", ["evaluate", "detect"])
def test_a_folder_that_has_changed_is_refused_unless_it_is_named(
    call_command: CallCommand, project: Path, tmp_path: Path, command: str
) -> None:
    write_photos(project / "photos", seed=0, classes=("dog", "fox"))
    (project / "photos" / "cat").rename(tmp_path / "cat")
    before = set(project.rglob("*"))
    outcome = call_command(f"ckpt_path={project / 'run'}", command=command)
    assert outcome.status == 1
    (line,) = outcome.err.splitlines()
    assert "does not hold the files that" in line
    assert "20 files of" in line
    assert "its classes were cat, dog: name the folder of those images with data.root=" in line
    assert set(project.rglob("*")) == before


def test_a_resumed_run_says_that_its_folder_has_other_files(
    call_train: CallTrain, project: Path, tmp_path: Path
) -> None:
    resume = (*TRAIN, "trainer.max_epochs=2", f"ckpt_path={project / 'run'}", "test=false")
    write_photos(tmp_path / "photos", seed=0)
    assert "does not hold" not in call_train(*resume, "data.root=photos").err
    write_photos(tmp_path / "photos", seed=1)
    with pytest.warns(UserWarning, match="photos does not hold the files that"):
        outcome = call_train(*resume, "data.root=photos")
    assert outcome.status == 0


def test_a_downloaded_data_set_is_looked_for_where_training_found_it(
    call_train: CallTrain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_fake_mnist(tmp_path / "a" / "data")
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    overrides = ("data=mnist", "data.val_size=1", *TRAIN[3:], "hydra.run.dir=run")
    assert call_train(*overrides).status == 0
    monkeypatch.chdir(tmp_path / "b")
    checkpoint = Checkpoint(tmp_path / "a" / "run")
    data = checkpoint.data()
    data.prepare_data()
    assert data.protocol.root == tmp_path / "a" / "data"
    assert checkpoint.origin.same_files(data)
    # On another machine that folder may not be there, and cannot be made: it is `data` here.
    shutil.rmtree(tmp_path / "a" / "data")
    assert checkpoint.data().protocol.root == tmp_path / "b" / "data"
    write_fake_mnist(tmp_path / "b" / "data")
    (tmp_path / "b" / "data" / "MNIST" / "raw" / "train-labels-idx1-ubyte").write_bytes(b"other")
    with pytest.raises(DataError, match="does not hold the files that"):
        checkpoint.data()
    with pytest.warns(UserWarning, match="4 files of .* then, 4 files of"):
        checkpoint.data(str(tmp_path / "b" / "data"))


@pytest.mark.parametrize("sweep", [(), ("-m", "seed=1,2")])
def test_relative_paths_are_those_of_the_command_if_each_job_has_a_working_directory(
    call_command: CallCommand,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sweep: tuple[str, ...],
) -> None:
    write_photos(tmp_path / "photos", seed=0)
    chdir = "hydra.job.chdir=true"
    where = "hydra.sweep.dir=runs" if sweep else "hydra.run.dir=runs/0_image_folder"
    outcome = call_command(*TRAIN, *sweep, "data.root=photos", chdir, where)
    assert outcome.status == 0, outcome.err
    run = "runs/0_seed=1" if sweep else "runs/0_image_folder"
    if not sweep:
        assert f"run         {run}" in outcome.out
    assert list(Checkpoint(run).data().class_names) == ["cat", "dog"]
    seeds = ("-m", "seed=1,2") if sweep else ()
    checkpoint = f"ckpt_path={quoted(run)}"
    outcome = call_command(checkpoint, *seeds, *EVALUATE, chdir, command="evaluate")
    assert outcome.status == 0, outcome.err
    assert len(list(Path(run).glob("evaluate/**/metrics.json"))) == max(1, len(seeds))
    resume = (*TRAIN, "data.root=photos", "trainer.max_epochs=2", checkpoint, chdir)
    assert call_command(*resume).status == 0


# -- the order of classes -------------------------------------------------------------------------


def test_a_checkpoint_without_a_class_order_keeps_the_order_of_text(
    project: Path, tmp_path: Path
) -> None:
    names = ("0", "1", "10", "2")
    write_photos(tmp_path / "numbers", seed=0, classes=names)
    content = torch.load(project / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    content["config"]["data"] |= {"root": str(tmp_path / "numbers"), "num_classes": 4}
    del content["config"]["data"]["class_order"], content["ImageFolderModule"]
    torch.save(content, tmp_path / "old.ckpt")
    old = Checkpoint(tmp_path / "old.ckpt")
    assert list(old.data().class_names) == list(names)
    # A run that resumes from it must not number them in another way.
    new = old.data(class_order="number", root=str(tmp_path / "project" / "photos"), num_classes=2)
    assert list(new.class_names) == ["cat", "dog"]
    with pytest.raises(CheckpointError, match=r"0, 1, 2, 10: set data\.class_order=text"):
        old.data(class_order="number", root=str(tmp_path / "numbers"))


def test_a_fingerprint_is_of_names_sizes_and_some_contents(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder / "deep").mkdir(parents=True)
        for name in ("x", "deep/y"):
            (tmp_path / folder / name).write_bytes(b"1234")
    names = ["x", "deep/y"]
    first = fingerprint(tmp_path / "a", names)
    assert (first["files"], first["bytes"]) == (2, 8)
    assert fingerprint(tmp_path / "b", names[::-1]) == first
    assert fingerprint(tmp_path / "a", ["x"]) != first
    for content in (b"12345", b"4321"):
        (tmp_path / "b" / "x").write_bytes(content)
        assert fingerprint(tmp_path / "b", names)["checksum"] != first["checksum"]


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("ckpt_path=sweep/0_seed=0", 'ckpt_path="sweep/0_seed=0"'),
        ("+data.root=~/a b", '+data.root="~/a b"'),
        ("init_from=sweep/0_seed=0,a b,x", 'init_from="sweep/0_seed=0","a b",x'),
        ("output_dir=sweep/0_seed=0/new/one", 'output_dir="sweep/0_seed=0/new/one"'),
        # These are no paths, plain ones, or hold more than a path.
        ("seed=0,1", "seed=0,1"),
        ("ckpt_path=sweep", "ckpt_path=sweep"),
        ("model.encoder.hidden=[4,4]", "model.encoder.hidden=[4,4]"),
        ("hydra.run.dir=sweep/0_seed=0/${now:%Y}", "hydra.run.dir=sweep/0_seed=0/${now:%Y}"),
        ("output_dir=sweep/new=1", "output_dir=sweep/new=1"),
        ("data.root=~nobody/a=1", "data.root=~nobody/a=1"),
        (f"tags=[{'x' * 300}]", f"tags=[{'x' * 300}]"),
        ("~seed", "~seed"),
        ("data.root=", "data.root="),
    ],
)  # fmt: skip
def test_paths_need_no_quotes(
    typed: str, read: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sweep/0_seed=0", "sweep/1_seed=1", "a b", "0"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    line = parse(["-m", typed])
    assert line.overrides == [read]
    assert line.flags == ["-m"]
    if read != typed:
        without_sweeps(line.overrides)  # Hydra can read it
