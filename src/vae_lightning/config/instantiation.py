"""Building objects from a configuration; nothing else in the package does.

Imports neither torch nor lightning.
"""

import inspect
import os
import traceback
from collections.abc import Callable, Mapping
from typing import Any, get_origin, get_type_hints

from vae_lightning.config.checks import check_type
from vae_lightning.config.composition import CONF_DIR
from vae_lightning.config.guesses import chosen_as, nearest
from vae_lightning.errors import ConfigError

# Classes of these packages may be built from a configuration, whoever wrote it.
_LIBRARIES = ("torch.optim", "lightning.pytorch")
ALLOWED_PACKAGES = ("vae_lightning", *_LIBRARIES)

# Further packages that the user trusts, separated by commas. In the environment and not in the
# configuration, because a checkpoint from someone else brings its own configuration.
TRUSTED = "VAE_LIGHTNING_PACKAGES"

_DIRECTIVES = {"_target_", "_partial_", "_convert_", "_recursive_"}


def instantiate(node: Mapping[str, Any], path: str, **kwargs: Any) -> Any:
    """Build the object that a resolved node describes.

    Args:
        node: plain dicts and lists with `_target_`s, which must be classes of `ALLOWED_PACKAGES`.
        path: the node's key, for messages.
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
    """Calls a class, now or later; its errors name the key of the value that was refused."""

    def __init__(self, cls: type, path: str, arguments: dict[str, Any]) -> None:
        self.cls = cls
        self.path = path
        self.arguments = arguments

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        arguments = {**self.arguments, **kwargs}
        given = inspect.signature(self.cls).bind_partial(*args, **arguments).arguments
        _check_complete(self.cls, given, self.path)
        try:
            return self.cls(*args, **arguments)
        except Exception as error:
            if not (_of_library(self.cls.__module__) or is_refusal(error)):
                raise
            line = " ".join(str(error).split())
            named = any(line.startswith(f"{name}=") for name in self.arguments)
            raise ConfigError(f"{self.path}.{line}" if named else f"{self.path}: {line}") from error


def _of_library(module: str) -> bool:
    # Few of their arguments have types, so that a wrong value can raise any error.
    return module.startswith(_LIBRARIES)


def is_refusal(error: Exception) -> bool:
    """Whether a part refused a value on purpose; any other error is a bug in the program.

    It did if it raised a `ValueError` itself. A `ValueError` of a library that the part called
    wrongly is a bug.
    """
    raised_in = list(traceback.walk_tb(error.__traceback__))[-1][0].f_globals["__name__"]
    return isinstance(error, ValueError) and _allowed(raised_in)


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
        raise ConfigError(f"{path}._target_={target} is not an installed class") from error
    # A dotted name can leave its package through the modules that it imports.
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
            _check_is_section(value, hints[key], f"{path}.{key}")
            check_type(value, hints[key], f"{path}.{key}")
    if not node.get("_partial_", False):
        _check_complete(cls, node, path)


def _check_complete(cls: type, given: Mapping[str, Any], path: str) -> None:
    """Refuse a class of which an argument without a default is missing."""
    for name, parameter in inspect.signature(cls).parameters.items():
        required = parameter.default is parameter.empty and parameter.kind in (
            parameter.POSITIONAL_OR_KEYWORD,
            parameter.KEYWORD_ONLY,
        )
        if required and name not in given:
            raise ConfigError(f"{path}.{name} is missing: {cls.__name__} needs it")


def _check_is_section(value: Any, hint: Any, path: str) -> None:
    """Refuse a plain value in place of an object that is built, such as a prior."""
    built = get_origin(hint) is Callable or (isinstance(hint, type) and _own(hint.__module__))
    if not built:
        return
    group = path.replace(".", "/")
    if (CONF_DIR / group).is_dir():
        remedy = f"to choose an option, write {chosen_as(group, value)}"
    else:
        remedy = f"its class is set in {path}._target_"
    raise ConfigError(f"{path}={'null' if value is None else value} should be a section: {remedy}")


def _own(module: str) -> bool:
    return _allowed(module) and not _of_library(module)


def _type_hints(cls: type) -> dict[str, Any]:
    try:
        return get_type_hints(cls.__init__)  # type: ignore[misc]
    except Exception:  # an annotation of a library that only a type checker can evaluate
        return {}
