"""The files of an export: they compute what the model computes, and the weights rebuild it."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from conftest import CallCommand, Outcome
from tiny import composed_model
from untrained import write_checkpoint
from vae_lightning.config import compose, instantiate, to_container
from vae_lightning.errors import UserError
from vae_lightning.exporting import onnx
from vae_lightning.exporting.parts import Decoder, Encoder
from vae_lightning.exporting.run import prepare
from vae_lightning.models import Model

onnxruntime = pytest.importorskip("onnxruntime")

SMALL = ("data=digits", "data.size=8")
NARROW = ("model.encoder.hidden=[8]", "model.decoder.hidden=[8]", "model.latent_dim=4")
SMALL_CONV = ("model.encoder.channels=[4,4]", "model.decoder.channels=[4,4]")
VARIANTS = {
    "batch norm, categorical pixels": (
        *NARROW,
        "model.encoder.batch_norm=true",
        "model.decoder.batch_norm=true",
        "model/likelihood=categorical",
    ),
    "hierarchical ladder": ("model=hierarchical", "model.inference=ladder"),
    "vector quantized": ("model=vector_quantized", *SMALL_CONV),
    "hyperspherical": (
        *NARROW,
        "model/posterior=von_mises_fisher",
        "model/prior=uniform_sphere",
    ),
}


def saved(path: Path, *overrides: str) -> Path:
    return write_checkpoint(path, *SMALL, *overrides)


def export_config(checkpoint: str | None, **changes: Any) -> dict[str, Any]:
    config = to_container(compose("export", ["ckpt_path=unset", "paths.run_dir=out"]))
    return config | {"ckpt_path": checkpoint} | changes


@pytest.fixture
def call_export(call_command: CallCommand) -> Callable[..., Outcome]:
    return partial(call_command, command="export")


def run_onnx(file: Path, *inputs: Tensor) -> list[Tensor]:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    named = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
    return [torch.from_numpy(np.asarray(value)) for value in session.run(None, named)]


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_files_compute_what_the_model_computes_on_batches_of_any_size(
    tmp_path: Path, variant: str
) -> None:
    model = composed_model(*SMALL, *VARIANTS[variant]).eval()
    encoder, decoder = Encoder(model), Decoder(model)
    for part in (encoder, decoder):
        onnx.write_onnx(part, tmp_path / f"{part.name}.onnx")
    for count in (5, 1):
        images = torch.rand(count, *model.image_shape)
        labels = model.each_class_in_turn(count, images.device)
        condition = () if labels is None else (labels,)
        means = model.latent_means(images, *condition)
        mean, *scale = run_onnx(tmp_path / "encoder.onnx", images, *condition)
        (image,) = run_onnx(tmp_path / "decoder.onnx", means, *condition)
        torch.testing.assert_close(mean, means, atol=1e-4, rtol=0)
        torch.testing.assert_close(image, model.mean_images(means, *condition), atol=1e-4, rtol=0)
        assert bool(scale) == (variant == "batch norm, categorical pixels")
        if scale:
            torch.testing.assert_close(scale[0], model.encode(images, *condition).stddev)


def test_export_writes_weights_onnx_files_and_a_description(
    tmp_path: Path, call_export: Callable[..., Outcome]
) -> None:
    from safetensors.torch import load_file

    checkpoint = saved(tmp_path / "a.ckpt", "model=conditional", *NARROW)
    outcome = call_export(f"ckpt_path={checkpoint}", "output_dir=out")
    assert (outcome.status, outcome.err) == (0, "")
    assert "wrote  out" in outcome.out
    assert "image, label -> mean, scale; largest difference" in outcome.out
    folder = tmp_path / "out"
    names = ["decoder.onnx", "encoder.onnx", "model.json", "model.safetensors"]
    assert {*names} == {path.name for path in folder.iterdir() if path.is_file()}
    # No paths of this machine are in the files.
    for name in names[:2]:
        assert b".py" not in (folder / name).read_bytes()

    facts = json.loads((folder / "model.json").read_text())
    assert facts["encoder"]["inputs"] == ["image", "label"]
    assert 0 <= facts["decoder"]["largest_difference"] < 1e-4
    rebuilt: Model = instantiate(facts["model"], "model").eval()
    rebuilt.load_state_dict(load_file(folder / "model.safetensors"))
    original = composed_model(*SMALL, "model=conditional", *NARROW).eval()
    images, labels = torch.rand(3, 1, 8, 8), torch.tensor([1, 2, 3])
    assert torch.equal(rebuilt.reconstruct(images, labels), original.reconstruct(images, labels))


def test_a_file_that_differs_from_the_model_is_removed_and_named(tmp_path: Path) -> None:
    model = composed_model(*SMALL, *NARROW).eval()
    part = Decoder(model)
    file = tmp_path / "decoder.onnx"
    onnx.write_onnx(part, file)
    with torch.no_grad():
        for weight in model.decoder.parameters():
            weight.add_(0.1)
        with pytest.raises(UserError, match=r"decoder as ONNX differs from the model by .*removed"):
            onnx.check_onnx(part, file)
    assert not file.exists()


def test_a_model_that_onnx_cannot_express_is_refused_in_one_line_and_its_weights_are_kept(
    tmp_path: Path, call_export: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("step 3 failed") from NotImplementedError("no hypot\nin ONNX")

    monkeypatch.setattr(torch.onnx, "export", fail)
    checkpoint = saved(tmp_path / "a.ckpt", *NARROW)
    outcome = call_export(f"ckpt_path={checkpoint}", "output_dir=out")
    assert outcome.status == 1
    assert len(outcome.err.splitlines()) == 1
    assert "error: the encoder of this model cannot be written as ONNX: no hypot; " in outcome.err
    assert "out/model.safetensors" in outcome.err
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert not (tmp_path / "out" / "encoder.onnx").exists()


def test_the_command_refuses_in_one_line_and_writes_nothing(
    tmp_path: Path, call_export: Callable[..., Outcome]
) -> None:
    saved(tmp_path / "a.ckpt", *NARROW)
    before = sorted(tmp_path.rglob("*"))
    outcome = call_export("ckpt_path=a.ckpt", "+seeds=1")
    assert outcome.status == 1
    assert outcome.err.startswith("error: seeds is not a key of the configuration")
    assert len(outcome.err.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("checkpoint", "changes", "message"),
    [
        (None, {}, "ckpt_path is missing: name a checkpoint or the folder of a run"),
        ("nowhere", {}, "nowhere does not exist"),
        ("a.ckpt", {"seed": -1}, "seed=-1 is out of range"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    checkpoint: str | None,
    changes: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "a.ckpt", *NARROW)
    with pytest.raises(UserError) as error:
        prepare(export_config(checkpoint, **changes))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_missing_packages_are_named_with_the_command_that_installs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here: Any = __import__("importlib.util").util.find_spec
    monkeypatch.setattr(
        "vae_lightning.exporting.run.find_spec",
        lambda name: None if name == "onnxscript" else here(name),
    )
    with pytest.raises(UserError) as error:
        prepare(export_config(str(saved(tmp_path / "a.ckpt", *NARROW))))
    assert str(error.value) == (
        "export needs onnxscript, not installed here: "
        "pip install -e '.[export]' in the folder of the project"
    )
