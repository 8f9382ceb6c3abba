"""Checks across parts of a configuration: that they fit each other, and the machine."""

import copy
from typing import Any

import torch
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from vae_lightning.config import instantiate, nearest
from vae_lightning.config.instantiation import is_refusal
from vae_lightning.distributions.point_mass import PointMass
from vae_lightning.errors import ConfigError
from vae_lightning.models import Model
from vae_lightning.objectives.objective import SCORE, TERMS, Objective
from vae_lightning.utils.image_size import image_shape
from vae_lightning.utils.random_state import fixed_noise


def check_parts(config: dict[str, Any]) -> None:
    """Check that the parts of a configuration fit together.

    Raises:
        ConfigError: two of them contradict each other, or a callback monitors a metric that is not
            logged.
    """
    data, model = config["data"], config["model"]
    served = image_shape(data["channels"], data["size"])
    if model["image_shape"] != served:
        raise ConfigError(
            f"model.image_shape={model['image_shape']} does not fit the data: "
            f"data.channels={data['channels']} and data.size={data['size']} make it {served}"
        )
    known = [f"{stage}/{name}" for stage in ("val", "train") for name in TERMS]
    for name, node in config["callbacks"].items():
        monitor = node.get("monitor")
        if monitor is not None and monitor not in known:
            raise ConfigError(
                f"callbacks.{name}.monitor={monitor} is not logged: {nearest(str(monitor), known)}"
            )

        patience = node.get("patience")
        if isinstance(patience, int) and patience < 0:
            raise ConfigError(f"callbacks.{name}.patience={patience} is out of range: at least 0")
        wrong = "min" if str(monitor).endswith("/elbo") else "max"
        if monitor is not None and node.get("mode") == wrong and "rate" not in monitor:
            right = "max" if wrong == "min" else "min"
            raise ConfigError(
                f"callbacks.{name}.mode={wrong} takes the worst {monitor} for the best: set "
                f"callbacks.{name}.mode={right}"
            )
    scheduler = config["scheduler"]
    if (
        str(scheduler.get("_target_")).endswith("ReduceLROnPlateau")
        and scheduler.get("mode", "min") == "min"
    ):
        raise ConfigError(
            f"scheduler.mode=min waits for a fall of {SCORE}, which rises: set scheduler.mode=max"
        )


def check_pixels(model: Model, binarize: str) -> None:
    """Check that a likelihood of 256 grey values is given grey images.

    Args:
        model: with its likelihood.
        binarize: the value of `data.binarize`.

    Raises:
        ConfigError: it is given black and white ones, of which a Bernoulli is the likelihood.
    """
    if binarize != "none" and model.likelihood.pixel_type == "discrete":
        raise ConfigError(
            f"{type(model.likelihood).__name__} is a likelihood of 256 grey values, and "
            f"data.binarize={binarize} leaves two: choose data.binarize=none, or "
            "model/likelihood=bernoulli"
        )


def check_together(model: Model, objective: Objective) -> None:
    """Check that an objective is defined for a model, by computing it on images of noise.

    Raises:
        ConfigError: it is not, or the parts of the model do not fit together; the message says
            which would.
    """
    modes = {part: part.training for part in (*model.modules(), *objective.modules())}
    model.eval()
    objective.eval()
    try:
        with fixed_noise(0, torch.device("cpu")):
            images = torch.rand(4, *model.image_shape)
            labels = model.each_class_in_turn(4, images.device)
            objective.check_model(model)
            objective(model(images, objective.num_samples, labels), 0)
    except ValueError as error:
        if not is_refusal(error):
            raise
        raise ConfigError(" ".join(str(error).split())) from error
    except RuntimeError as error:
        if "allocate memory" not in str(error):
            raise
        raise ConfigError(
            "four images and their posterior samples do not fit in memory: make the model "
            f"smaller, or objective.num_samples={objective.num_samples}"
        ) from error
    finally:
        for part, training in modes.items():
            part.training = training


def check_precision(model: Model, precision: str | int | None, key: str) -> None:
    """Check that a model can be computed in half precision, where it is asked for.

    Args:
        model: in float32.
        precision: as Lightning names it.
        key: of the precision, for the message.

    Raises:
        ConfigError: a part of the model needs float32.
    """
    half = {"bf16-true": torch.bfloat16, "16-true": torch.float16}
    if precision not in half:
        return
    dtype = half[str(precision)]
    try:
        with fixed_noise(0, torch.device("cpu")), torch.no_grad():
            images = torch.rand(4, *model.image_shape).to(dtype)
            labels = model.each_class_in_turn(4, images.device)
            trace = copy.deepcopy(model).to(dtype)(images, 1, labels)
            _ = trace.distortion
            for latent in trace.latents:
                if not isinstance(latent.posterior, PointMass):
                    _ = latent.rate
    except RuntimeError as error:
        raise ConfigError(
            f"{key}={precision}: parts of this model need float32: "
            f"choose {key}={str(precision).replace('true', 'mixed')}, or {key}=32-true"
        ) from error


def check_accelerator(trainer: dict[str, Any]) -> None:
    """Check that the accelerator exists and is available.

    Args:
        trainer: the configuration of the Trainer.

    Raises:
        ConfigError: it does not or is not; the message says what is available.
    """
    asked = trainer.get("accelerator", "auto")
    kinds = {name: AcceleratorRegistry[name]["accelerator"] for name in AcceleratorRegistry}
    here = sorted(name for name, kind in kinds.items() if kind.is_available())
    if asked in ("auto", *here) or (asked == "gpu" and {"cuda", "mps"} & set(here)):
        return
    known = ["auto", "gpu", *kinds]
    if asked not in known:
        raise ConfigError(
            f"trainer.accelerator={asked} does not exist: {nearest(str(asked), known)}"
        )
    raise ConfigError(
        f"trainer.accelerator={asked} is not available: torch {torch.__version__} finds "
        f"{' and '.join(here)}: set trainer=cpu, or trainer.accelerator=auto for the best one"
    )


def processes_started(trainer: dict[str, Any]) -> int:
    """How many processes of the same command line a run will start.

    Args:
        trainer: the configuration of the Trainer.
    """
    launcher = instantiate(trainer, "trainer", logger=False).strategy.launcher
    return launcher.num_processes if isinstance(launcher, _SubprocessScriptLauncher) else 1
