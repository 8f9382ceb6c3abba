"""The settings of a job."""

from pathlib import Path
from typing import Any

from vae_lightning.cli.overrides import is_sweep


def chosen_settings_of_job() -> dict[str, Any]:
    """The keys that the command line sets for the current job, with their values."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.override_parser.overrides_parser import OverridesParser

    if not HydraConfig.initialized():
        return {}
    parsed = OverridesParser.create().parse_overrides(list(HydraConfig.get().overrides.task))
    return {item.get_key_element(): item.value() for item in parsed if not item.is_delete()}


def swept_settings_of_job() -> dict[str, Any]:
    """The keys that the sweep of the current job varies, with the job's values; else nothing.

    They are read from the `multirun.yaml` that Hydra writes into the sweep's folder: a job that a
    launcher starts in a process of its own has no command line.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    if not HydraConfig.initialized():
        return {}
    job = HydraConfig.get()
    place = Path(job.sweep.dir) if is_sweep(job) else Path(job.runtime.output_dir).parent
    file = Path(job.runtime.cwd) / place / "multirun.yaml"
    if not file.is_file():
        return {}
    sweep: Any = OmegaConf.load(file)
    parser = OverridesParser.create()
    asked = parser.parse_overrides(list(sweep.hydra.overrides.task))
    swept = {item.get_key_element() for item in asked if item.is_sweep_override()}
    swept |= set(OmegaConf.select(sweep, "hydra.sweeper.params") or {})
    return {
        item.get_key_element(): item.value()
        for item in parser.parse_overrides(list(job.overrides.task))
        if item.get_key_element() in swept
    }
