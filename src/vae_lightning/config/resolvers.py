"""Resolvers: values that `conf/` computes from other keys. Imports neither torch nor lightning."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from vae_lightning.utils.image_size import image_shape


def register_resolvers() -> None:
    """Register the resolvers of `conf/` with OmegaConf.

    `${result_folder:checkpoint,chosen,name}`, `${job_folder:number,overrides,fixed_keys}`,
    `${classes_of_folder:root}`, `${classes_of_emnist:split}`, `${classes_of_attribute:attribute}`,
    `${array_file:path,name}`, `${image_shape:channels,size}` and `${pseudo_inputs:posterior}`.
    """
    from omegaconf import OmegaConf

    # Hydra 1.4 and its OmegaConf have renamed what 1.3 needs.
    for renamed in (r"register_new_resolver\(\)", "The version_base parameter"):
        warnings.filterwarnings("ignore", f"\\s*{renamed} is deprecated")
    # `conf/hydra/launcher/ray.yaml` changes some defaults of the plugin's option of that name.
    warnings.filterwarnings("ignore", r"\s*'hydra/launcher/ray' is validated against ConfigStore")
    OmegaConf.register_new_resolver("result_folder", result_folder, replace=True)
    OmegaConf.register_new_resolver("job_folder", _job_folder, replace=True)
    OmegaConf.register_new_resolver("classes_of_folder", _classes_of_folder, replace=True)
    OmegaConf.register_new_resolver("classes_of_emnist", _classes_of_emnist, replace=True)
    OmegaConf.register_new_resolver("classes_of_attribute", _classes_of_attribute, replace=True)
    OmegaConf.register_new_resolver("array_file", _array_file, replace=True)
    OmegaConf.register_new_resolver("image_shape", image_shape, replace=True)
    OmegaConf.register_new_resolver("pseudo_inputs", _pseudo_inputs, replace=True)


def result_folder(checkpoint: str | None, chosen: str | None, name: str) -> str:
    """The output folder of a command on a checkpoint: by default one inside the folder of the run.

    Args:
        checkpoint: a file, or the folder of a run.
        chosen: the value of `output_dir`.
        name: of the folder inside the run.
    """
    if chosen is not None:
        return str(Path(str(chosen)).expanduser())
    if checkpoint is None:  # the command will refuse it
        return name
    path = Path(str(checkpoint)).expanduser()
    folder = path if path.is_dir() else path.parent
    return str((folder.parent if folder.name == "checkpoints" else folder) / name)


def _job_folder(number: int, overrides: Sequence[str], fixed: Sequence[str]) -> str:
    from vae_lightning.config.job_names import job_folder, swept

    return job_folder(number, swept(overrides, fixed))


def _classes_of_folder(root: str | None) -> int:
    from vae_lightning.data.image_folder import num_classes_of

    return num_classes_of(root)


def _classes_of_emnist(split: str) -> int:
    from vae_lightning.data.characters import num_classes_of

    return num_classes_of(split)


def _classes_of_attribute(attribute: str | None) -> int:
    return 0 if attribute is None else 2  # without it, and with it


def _array_file(path: str | None, name: Literal["size", "channels", "num_classes"]) -> Any:
    from vae_lightning.data.array_files import facts

    return facts(path, name)


def _pseudo_inputs(posterior: str) -> int:
    """As many as in the paper; few if each sample is scored under each of them by inversion."""
    return 10 if posterior.endswith(".flow.FlowPosterior") else 500
