"""Names of the jobs of a sweep: their numbers and swept settings."""

import re
from collections.abc import Mapping, Sequence

# Characters of a value in the name of a folder, and of the name itself.
_LONGEST_VALUE = 24
_LONGEST_NAME = 120


def short_settings(settings: Mapping[str, object]) -> dict[str, object]:
    """Settings by the last parts of their keys, or by all but the first where these are the same.

    Args:
        settings: by keys as they are written in overrides, such as `model/prior`.

    Example:
        >>> short_settings({"model.latent_dim": 2, "model/prior": "vamp", "seed": 0})
        {'latent_dim': 2, 'prior': 'vamp', 'seed': 0}
        >>> short_settings({"model.encoder.hidden": [9], "model.decoder.hidden": [9]})
        {'encoder.hidden': [9], 'decoder.hidden': [9]}
    """
    keys = [key.lstrip("+").replace("/", ".") for key in settings]
    last = [key.rpartition(".")[2] for key in keys]
    return {
        (name if last.count(name) == 1 else key.partition(".")[2] or key): value
        for key, name, value in zip(keys, last, settings.values(), strict=True)
    }


def job_title(settings: Mapping[str, object]) -> str:
    """The settings of a job in a line.

    Args:
        settings: the swept ones, by key.

    Example:
        >>> job_title({"model.latent_dim": 2, "model.encoder.hidden": [400, 200]})
        'latent_dim=2 hidden=[400,200]'
    """
    return " ".join(f"{key}={_text(value)}" for key, value in short_settings(settings).items())


def job_folder(number: int, settings: Mapping[str, object]) -> str:
    """The name of the folder of a job: its number and settings, long values shortened.

    Only letters, digits, and the characters `_=.+-` are left.

    Args:
        number: of the job, from 0.
        settings: the swept ones, by key.

    Example:
        >>> job_folder(0, {"model.latent_dim": 2, "model.encoder.hidden": [400, 200], "seed": 1})
        '0_latent_dim=2_hidden=400-200_seed=1'
    """
    parts = [str(number)]
    for key, value in short_settings(settings).items():
        text = re.sub(r"[^\w.+-]+", "-", _text(value), flags=re.ASCII).strip("-.")
        parts.append(f"{key}={text[:_LONGEST_VALUE]}")
    return "_".join(parts)[:_LONGEST_NAME]


def swept(overrides: Sequence[str], fixed: Sequence[str]) -> dict[str, object]:
    """The settings of a job that its sweep varies, in the order of the command line.

    Args:
        overrides: of the job.
        fixed: the keys that all jobs share.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return {
        item.key_or_group: item.value() if not item.is_delete() else None
        for item in parsed
        if item.key_or_group not in fixed
    }


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_text, value))}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)
