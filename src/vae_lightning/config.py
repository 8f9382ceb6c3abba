"""The configuration: where it is, what it may build, and whether its values fit.

Imports neither torch nor lightning, so that a command can answer `--help` at once.
"""

import difflib
import inspect
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, get_type_hints

from vae_lightning.errors import ConfigError
from vae_lightning.plain_types import describe, fits
from vae_lightning.resolvers import register_resolvers

_PACKAGE = Path(__file__).resolve().parent
# A wheel carries the folder inside the package; a source checkout has it at the top.
CONF_DIR = next(
    folder
    for folder in (_PACKAGE / "conf", _PACKAGE.parents[1] / "conf")
    if (folder / "train.yaml").is_file()
)

# Classes of these packages may be built from a configuration, whoever wrote it.
ALLOWED_PACKAGES = ("vae_lightning", "torch.optim", "lightning.pytorch")

# Further packages, which the user trusts, with commas between them. In the environment and not in
# the configuration, because a checkpoint of somebody else's brings a configuration of its own.
TRUSTED = "VAE_LIGHTNING_PACKAGES"

_DIRECTIVES = {"_target_", "_partial_", "_convert_", "_recursive_"}


def compose(config_name: str, overrides: Sequence[str] = (), with_hydra: bool = False) -> Any:
    """Compose a configuration without running a job.

    Args:
        config_name: a file at the top of `conf/`, without its ending.
        overrides: as on the command line.
        with_hydra: keep Hydra's own settings, under the key `hydra`.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    register_resolvers()
    # Inside a job Hydra knows where to look, in the folder of `--config-dir` too.
    running = GlobalHydra.instance().is_initialized()
    with nullcontext() if running else initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return hydra_compose(config_name, list(overrides), return_hydra_config=with_hydra)


def to_container(config: Any) -> Any:
    """Plain dicts and lists, with every interpolation resolved.

    Raises:
        ConfigError: an interpolation that leads nowhere, or a value still missing.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from error


def instantiate(node: Mapping[str, Any], path: str, **kwargs: Any) -> Any:
    """Build what a resolved node describes: the only place where a configuration becomes objects.

    Args:
        node: plain dicts and lists with `_target_`s, which must be classes of `ALLOWED_PACKAGES`.
        path: the node's own key, for messages.
        kwargs: further arguments of the outermost class.

    Raises:
        ConfigError: a target that is not allowed, an unknown or missing key, a value of the wrong
            type, or one that the class refuses.
    """
    check_node(node, path)
    return _build(node, path, **kwargs)


def check_node(node: Any, path: str) -> None:
    """Check every `_target_` in a node, its keys and the types of its values; build nothing.

    Raises:
        ConfigError: as in `instantiate`.
    """
    if isinstance(node, Mapping):
        if "_target_" in node:
            _check_arguments(node, path)
        for key, value in node.items():
            check_node(value, f"{path}.{key}")
    elif isinstance(node, list):
        for place, value in enumerate(node):
            check_node(value, f"{path}[{place}]")


def check_type(value: Any, hint: Any, path: str) -> None:
    """Check a plain value against a type annotation.

    Raises:
        ConfigError: it is of another type.
    """
    if not fits(value, hint):
        raise ConfigError(f"{path}={value} should be {describe(hint)}")


def check_keys(config: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse a key at the top of a configuration that no one reads, or one that was deleted.

    Raises:
        ConfigError: there is one; of a key that no one reads, the nearest known one is named.
    """
    known = list(known)
    for key in config:
        if key not in known:
            raise ConfigError(f"{key} is not a key of the configuration: {nearest(key, known)}")
    for key in known:
        if key not in config:
            raise ConfigError(f"{key} cannot be left out: this command needs it")


def check_section(section: Any, options: type, path: str) -> None:
    """Check the keys of a section, and the types of their values.

    Args:
        section: plain values by key, or what was put in their place.
        options: a `TypedDict` with the type of each key.
        path: the section's own key, for messages.

    Raises:
        ConfigError: no section, a key that is none, or a value of another type.
    """
    hints = get_type_hints(options)
    if not isinstance(section, Mapping):
        example = f"{path}.{next(iter(hints))}=..."
        raise ConfigError(f"{path}={section} should be a section: its keys are set as in {example}")
    for key in section:
        if key not in hints:
            raise ConfigError(f"{path}.{key} is not an option: {nearest(key, hints)}")
    for key, hint in hints.items():
        check_type(section.get(key), hint, f"{path}.{key}")


def nearest(name: str, choices: Iterable[str], listed: Iterable[str] = ()) -> str:
    """The part of a message that helps with a misspelt name.

    Args:
        name: as it was written.
        choices: what it might have meant.
        listed: what to list where nothing is close to it; by default, the choices.
    """
    choices = sorted(choices)
    if close := difflib.get_close_matches(name, choices, n=1, cutoff=0.5):
        return f"did you mean {close[0]}?"
    return f"there are: {', '.join(sorted(listed) or choices)}"


def _build(value: Any, path: str, **kwargs: Any) -> Any:
    if isinstance(value, list):
        return [_build(item, f"{path}[{place}]") for place, item in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    arguments = {
        key: _build(item, f"{path}.{key}") for key, item in value.items() if key not in _DIRECTIVES
    }
    if "_target_" not in value:
        return arguments
    factory = _Factory(_locate(value["_target_"], path), path, {**arguments, **kwargs})
    return factory if value.get("_partial_", False) else factory()


class _Factory:
    """Calls a class, now or later, and says of a refused value by which key it came."""

    def __init__(self, cls: type, path: str, arguments: dict[str, Any]) -> None:
        self.cls = cls
        self.path = path
        self.arguments = arguments

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self.cls(*args, **{**self.arguments, **kwargs})
        except ConfigError:
            raise
        except Exception as error:
            line = " ".join(str(error).split())
            named = any(line.startswith(f"{name}=") for name in self.arguments)
            raise ConfigError(f"{self.path}.{line}" if named else f"{self.path}: {line}") from error


def _locate(target: str, path: str) -> type:
    from hydra.utils import get_class

    if not _allowed(target):
        raise ConfigError(
            f"{path}._target_={target} may not be built from a configuration: "
            f"it must be a class of {', '.join(_allowed_packages())}; name your own package in "
            f"the environment variable {TRUSTED}"
        )
    try:
        cls = get_class(target)
    except Exception as error:
        raise ConfigError(f"{path}._target_={target} is not a class that is here") from error
    # A dotted name can wander out of its package by way of the modules that it imports.
    if not _allowed(cls.__module__):
        raise ConfigError(f"{path}._target_={target} leads to {cls.__module__}, outside of it")
    return cls


def _allowed(name: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in _allowed_packages())


def _allowed_packages() -> list[str]:
    own = [name.strip() for name in os.environ.get(TRUSTED, "").split(",")]
    return [*ALLOWED_PACKAGES, *filter(None, own)]


def _check_arguments(node: Mapping[str, Any], path: str) -> None:
    cls = _locate(node["_target_"], path)
    parameters = inspect.signature(cls).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    hints = _type_hints(cls)
    for key, value in node.items():
        if key in _DIRECTIVES:
            continue
        if key not in parameters and not open_ended:
            raise ConfigError(
                f"{path}.{key} is not an option of {cls.__name__}: {nearest(key, parameters)}"
            )
        if key in hints and not isinstance(value, Mapping):
            check_type(value, hints[key], f"{path}.{key}")
    if not node.get("_partial_", False):
        for name, parameter in parameters.items():
            required = parameter.default is parameter.empty and parameter.kind in (
                parameter.POSITIONAL_OR_KEYWORD,
                parameter.KEYWORD_ONLY,
            )
            if required and name not in node:
                raise ConfigError(f"{path}.{name} is missing: {cls.__name__} needs it")


def _type_hints(cls: type) -> dict[str, Any]:
    try:
        return get_type_hints(cls.__init__)  # type: ignore[misc]
    except Exception:  # a library's annotation that only a type checker can read
        return {}
