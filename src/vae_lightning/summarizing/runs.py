"""Finding runs on disk, and reading what they left. Imports neither torch nor lightning."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vae_lightning.cli.job_state import ERROR_FILE
from vae_lightning.config.hyperparameters import hyperparameters
from vae_lightning.summarizing.values import plain_keys

_CONFIG = Path(".hydra/config.yaml")
_HYDRA = Path(".hydra/hydra.yaml")
_RESULTS = "metrics.json"
_EVALUATIONS = "evaluate/**/metrics.json"
NOT_FINISHED = "not finished"
# Beside `data`, `binarize` and `bound`: what restricts the images that were measured.
_LIMITS = ("limit_val_batches", "limit_test_batches", "overfit_batches")


@dataclass
class RunRecord:
    """What a training run left.

    Attributes:
        folder: of the run.
        settings: each key of its configuration, flat, with the option as the value of a group;
            interpolations are not resolved.
        overrides: the keys of its command line.
        hyperparameters: the keys that influence results.
        metrics: finite numbers and not, by tag; empty if it has not finished.
        protocol: what has to be the same for two runs to be comparable.
        checkpoint: the one that was tested; None if it is not known.
        num_samples: K of its evaluation; None if it was not evaluated.
        problem: why it has no metrics; None if it has.
    """

    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)
    hyperparameters: list[str] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    checkpoint: Path | None = None
    num_samples: int | None = None
    problem: str | None = None

    @property
    def seed(self) -> Any:
        return self.settings.get("seed")

    @property
    def sweep(self) -> Path | None:
        """The folder of the sweep that the run is a job of; None for other runs."""
        parent = self.folder.parent
        return parent if (parent / "multirun.yaml").is_file() else None


def find_runs(folder: Path) -> Iterator[Path]:
    """The folders of runs, at any depth, in the order of their names and numbers.

    The results of other commands inside the folder of a run are part of that run.
    """
    seen: set[Path] = set()
    for place, children, files in os.walk(folder, followlinks=True):
        here = Path(place)
        if (resolved := here.resolve()) in seen:  # a link that leads back
            children.clear()
            continue
        seen.add(resolved)
        if _RESULTS in files or (here / _CONFIG).is_file():
            children.clear()
            yield here
        children[:] = sorted((x for x in children if not x.startswith(".")), key=_numbers_in_order)


def runs_below(path: str) -> list[RunRecord]:
    """The runs in a folder, such as that of a sweep; none if it is that of a run, or a file."""
    folder = Path(path).expanduser()
    if not folder.is_dir() or (folder / "checkpoints").is_dir():
        return []
    return [run for run in read_runs([folder])[0] if run.folder != folder]


def read_runs(folders: Sequence[Path]) -> tuple[list[RunRecord], list[str]]:
    """Read all runs below some folders, each once.

    Returns:
        the runs, and a line for each file that was skipped because it cannot be read.
    """
    found: dict[Path, RunRecord] = {}
    skipped: list[str] = []
    for folder in folders:
        for path in find_runs(folder):
            if path.resolve() not in found and (run := _read(path, skipped)):
                found[path.resolve()] = run
    return list(found.values()), skipped


def _read(folder: Path, skipped: list[str]) -> RunRecord | None:
    """Read a run; None for the results of another command."""
    run = RunRecord(folder)
    if (folder / _CONFIG).is_file():
        config = _load(folder / _CONFIG, skipped)
        composed = (_load(folder / _HYDRA, skipped) or {}).get("hydra") or {}
        command = (composed.get("job") or {}).get("config_name", "train")
        if command != "train" or (config is not None and "model" not in config):
            return None
        if config is not None:
            _set_config(run, config, composed)
    results = None
    if (folder / _RESULTS).is_file():
        results = _load(folder / _RESULTS, skipped)
        if results is not None and "protocol" in results:
            return None
    if results is not None:
        _set_results(run, results, skipped)
    else:
        run.problem = _problem(folder)
    return run


def _set_config(run: RunRecord, config: dict[str, Any], composed: dict[str, Any]) -> None:
    run.settings = plain_keys(config)
    task = (composed.get("overrides") or {}).get("task") or []
    run.overrides = [item.lstrip("+~").partition("=")[0].replace("/", ".") for item in task]
    for group, option in ((composed.get("runtime") or {}).get("choices") or {}).items():
        name = group.partition("@")[0]
        key = name.replace("/", ".")
        # The option does not tell which class it is if the command line names another one.
        if name.partition("/")[0] != "hydra" and f"{key}._target_" not in run.overrides:
            run.settings[key] = option
    if isinstance(config.get("trainer"), dict):
        run.hyperparameters = list(hyperparameters(config))


def _set_results(run: RunRecord, results: dict[str, Any], skipped: list[str]) -> None:
    settings = run.settings
    run.settings = {"seed": results.get("seed"), "data.name": results.get("data"), **settings}
    run.metrics = _numbers(results)
    # The other metrics of validation are those of the last epoch.
    if (best := run.metrics.pop("val/best_elbo", None)) is not None:
        run.metrics["val/elbo"] = best
    run.checkpoint = _checkpoint(run.folder, results.get("checkpoint"))
    run.protocol = {name: results.get(name) for name in ("data", "binarize", "bound")}
    run.protocol |= {name: settings.get(f"data.{name}") for name in ("size", "channels")}
    run.protocol |= {name: results.get(name) for name in _LIMITS}
    if "data.source" not in settings:  # your own images, whose name does not tell which they are
        run.protocol |= {name: settings.get(f"data.{name}") for name in ("root", "path")}
    evaluated: dict[str, float] = {}
    for evaluation in _evaluations(run, skipped):
        evaluated |= _numbers(evaluation)
        if "test/nll" in evaluation:
            run.num_samples = evaluation["protocol"].get("num_samples")
    run.metrics = {**evaluated, **run.metrics}


def _evaluations(run: RunRecord, skipped: list[str]) -> list[dict[str, Any]]:
    """The evaluations of a run, last that of its best checkpoint, all images and most samples."""
    files = sorted(run.folder.glob(_EVALUATIONS))
    found = [content for file in files if (content := _load(file, skipped))]
    found = [content for content in found if isinstance(content.get("protocol"), dict)]

    def rank(item: tuple[int, dict[str, Any]]) -> tuple[bool, bool, int, int]:
        number, content = item
        protocol = content["protocol"]
        name = Path(str(protocol.get("checkpoint"))).name
        whole = protocol.get("images") == protocol.get("images_in_split")
        own = run.checkpoint is not None and run.checkpoint.name == name
        return own, whole, protocol.get("num_samples") or 0, number

    return [content for _, content in sorted(enumerate(found), key=rank)]


def _numbers(content: dict[str, Any]) -> dict[str, float]:
    """The metrics that are a number; `seed` and the like are settings."""
    return {
        tag: float(value)
        for tag, value in content.items()
        if ("/" in tag or tag in ("seconds", "images_per_second"))
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    }


def _checkpoint(folder: Path, recorded: Any) -> Path | None:
    """The checkpoint of a run, which may have been moved since."""
    if not isinstance(recorded, str):
        return None
    here = folder / "checkpoints" / Path(recorded).name
    return here if here.is_file() else Path(recorded)


def _problem(folder: Path) -> str:
    file = folder / ERROR_FILE
    if file.is_file() and (words := file.read_text(encoding="utf-8", errors="replace").split()):
        text = " ".join(words)
        return text if words[0] == "pruned" else f"failed: {text}"  # a search prunes
    return NOT_FINISHED


def _load(file: Path, skipped: list[str]) -> dict[str, Any] | None:
    """Read a JSON or YAML file; None, and a line about it, if it is missing or cut short."""
    import yaml

    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".json":
            content = json.loads(text)
        else:
            # libyaml is five times as fast as the loader in Python.
            content = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no whole file"
        skipped.append(f"{file} cannot be read and is skipped: {reason}")
        return None
    if not isinstance(content, dict):
        skipped.append(f"{file} cannot be read and is skipped: it is no whole file")
        return None
    return content


def _numbers_in_order(name: str) -> list[tuple[int, str]]:
    """A key that sorts 2_mnist before 10_mnist."""
    parts = re.findall(r"\d+|\D+", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
