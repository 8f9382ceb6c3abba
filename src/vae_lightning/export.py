"""Write a trained model for other programs: `python -m vae_lightning.export ckpt_path=<run>`."""

from importlib.util import find_spec
from typing import Any

from vae_lightning import command
from vae_lightning.config import check_keys
from vae_lightning.errors import ConfigError
from vae_lightning.trained import check_trained

_KEYS = ("task_name", "ckpt_path", "output_dir", "seed", "paths")
_PACKAGES = ("onnx", "onnxruntime", "onnxscript", "safetensors")


def check(config: dict[str, Any]) -> None:
    """Refuse what cannot be exported: nothing is written.

    Raises:
        ConfigError: a key, type or value that does not fit, or a package that is not installed.
        CheckpointError: `ckpt_path` is no checkpoint.
    """
    check_keys(config, _KEYS)
    if missing := [name for name in _PACKAGES if find_spec(name) is None]:
        raise ConfigError(
            f"export needs {', '.join(missing)}, not installed here: "
            "pip install 'vae-lightning[export]'"
        )
    check_trained(config)


def export(config: dict[str, Any]) -> None:
    """Write the files, check them against the model, and report.

    Args:
        config: resolved, plain dicts and lists.
    """
    from vae_lightning.exporting import run

    run(config)


def main() -> None:
    command.run("export", check=check, task=export)


if __name__ == "__main__":
    main()
