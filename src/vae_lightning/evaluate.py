"""Measure a trained model: `python -m vae_lightning.evaluate ckpt_path=<file or run folder>`."""

from typing import Any, Literal, TypedDict

from vae_lightning import command
from vae_lightning.checks import at_least
from vae_lightning.config import check_keys, check_section, compose, instantiate, to_container
from vae_lightning.errors import ConfigError
from vae_lightning.mistakes import quoted
from vae_lightning.trained import check_trained, datamodule_of

PARTS = ("likelihood", "latents", "samples")
_KEYS = ("task_name", "ckpt_path", "seed", "data", "evaluate", "trainer", "paths")


class Options(TypedDict):
    """The keys of the section `evaluate`, with their types."""

    parts: list[Literal["likelihood", "latents", "samples"]]
    split: Literal["test", "val", "train"]
    num_samples: int
    num_images: int | None


def check(config: dict[str, Any]) -> None:
    """Refuse what cannot be evaluated: nothing is fetched or written.

    Raises:
        ConfigError: a key, type or value that does not fit.
        CheckpointError: `ckpt_path` is no checkpoint.
    """
    from vae_lightning.compatibility import check_accelerator
    from vae_lightning.train import settle_lightning

    check_keys(config, _KEYS)
    settle_lightning()
    options = config["evaluate"]
    check_section(options, Options, "evaluate")
    try:
        at_least("evaluate.num_samples", options["num_samples"], 1)
        if options["num_images"] is not None:
            at_least("evaluate.num_images", options["num_images"], 4)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if not options["parts"]:
        raise ConfigError(f"evaluate.parts is empty: name some of {', '.join(PARTS)}")
    check_trained(config)
    data = datamodule_of(config)
    if data.num_images[options["split"]] == 0:
        raise ConfigError(f"evaluate.split={options['split']} holds no images in this run")
    if "samples" in options["parts"] and data.num_images[options["split"]] < 4:
        raise ConfigError(
            f"evaluate.split={options['split']} holds {data.num_images[options['split']]} images, "
            "and evaluate.parts=[samples] compares at least 4"
        )
    data.check_in_memory(options["split"])
    if data.class_names and {"latents", "samples"} & set(options["parts"]):
        data.check_in_memory("train")  # classifiers and probes learn from it
    check_accelerator(config["trainer"])
    instantiate(config["trainer"], "trainer", logger=False, enable_checkpointing=False)


def evaluate(config: dict[str, Any]) -> float | None:
    """Measure, write and report, as a configuration says.

    Args:
        config: resolved, plain dicts and lists.

    Returns:
        `nll` of the split, in nats, where it was asked for.
    """
    from vae_lightning.evaluation import run

    return run(config)


def evaluate_run(checkpoint: str, run: dict[str, Any]) -> float | None:
    """Measure the checkpoint of a training run with the settings of `conf/evaluate.yaml`.

    Args:
        checkpoint: the file.
        run: the run's resolved configuration: its trainer, its folder and its K are used.
    """
    from omegaconf import OmegaConf

    folder = f"{run['paths']['run_dir']}/evaluation"
    samples = f"evaluate.num_samples={run['nll_samples']}"
    composed = compose("evaluate", [f"paths.run_dir={quoted(folder)}", samples])
    OmegaConf.set_struct(composed, False)
    config = to_container(composed)
    config |= {"ckpt_path": checkpoint, "trainer": run["trainer"]}
    return evaluate(config)


def main() -> None:
    command.run("evaluate", check=check, task=evaluate)


if __name__ == "__main__":
    main()
