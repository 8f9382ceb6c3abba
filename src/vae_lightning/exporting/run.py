"""One run of `export`: checked, written, compared with the model, printed."""

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from vae_lightning import __version__
from vae_lightning.cli.paths import relative
from vae_lightning.cli.workspace import Workspace
from vae_lightning.config import check_keys
from vae_lightning.errors import ConfigError
from vae_lightning.exporting.onnx import check_onnx, write_onnx
from vae_lightning.exporting.parts import Decoder, Encoder
from vae_lightning.models import Model
from vae_lightning.utils.progress import stage
from vae_lightning.utils.random_state import fixed_noise

_KEYS = ("task_name", "ckpt_path", "output_dir", "seed", "paths")
_PACKAGES = ("onnx", "onnxruntime", "onnxscript", "safetensors")


def prepare(config: dict[str, Any]) -> Workspace:
    """Check a configuration; nothing is written.

    Raises:
        ConfigError: a key, type or value that does not fit, or a package that is not installed.
        CheckpointError: `ckpt_path` is not a checkpoint, or its weights do not fit.
    """
    check_keys(config, _KEYS)
    if missing := [name for name in _PACKAGES if find_spec(name) is None]:
        raise ConfigError(
            f"export needs {', '.join(missing)}, not installed here: "
            "pip install -e '.[export]' in the folder of the project"
        )
    workspace = Workspace(config)
    _ = workspace.model  # built here, so that weights that do not fit are refused
    return workspace


def export(workspace: Workspace) -> None:
    """Write the weights, the encoder and the decoder, and print the names of the files.

    Raises:
        UserError: torch.onnx cannot export a part, or its outputs differ from the model's.
    """
    folder, model = workspace.folder, workspace.model
    folder.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {
        "vae_lightning": __version__,
        "checkpoint": str(workspace.checkpoint.path),
        "model": workspace.checkpoint.config["model"],
        "image_shape": list(model.image_shape),
        "num_classes": model.num_classes,
    }
    write_weights(model, folder / "model.safetensors")
    _write_facts(folder, facts)
    lines = [("model.safetensors", "the weights"), ("model.json", "the model's configuration")]
    with torch.no_grad(), fixed_noise(workspace.seed, torch.device("cpu")):
        for part in (Encoder(model), Decoder(model)):
            file = folder / f"{part.name}.onnx"
            with stage(f"writing {file.name}"):
                write_onnx(part, file)
                difference = check_onnx(part, file)
            facts[part.name] = {
                "file": file.name,
                "inputs": list(part.inputs),
                "outputs": list(part.outputs),
                "largest_difference": difference,
            }
            _write_facts(folder, facts)
            signature = f"{', '.join(part.inputs)} -> {', '.join(part.outputs)}"
            lines.append((file.name, f"{signature}; largest difference {difference:.1e}"))
    _show(folder, lines)


def write_weights(model: Model, file: Path) -> None:
    """Write the weights as safetensors, with the names of `model.state_dict()`."""
    from safetensors.torch import save

    file.write_bytes(save({k: value.contiguous() for k, value in model.state_dict().items()}))


def _write_facts(folder: Path, facts: dict[str, Any]) -> None:
    (folder / "model.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _show(folder: Path, lines: Sequence[tuple[str, str]]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    for name, description in lines:
        console.print(f"{name:<18}  {description}", soft_wrap=True)
    console.print(f"wrote  {relative(folder)}", soft_wrap=True)
