"""The settings that an error message tells its reader to choose."""

import re

# Settings by key, as on a command line.
Settings = dict[str, str]


def advice(message: str) -> list[Settings]:
    """The alternatives of a message: "choose a=1 and b=2, or c=3 (there is also 4)".

    A message without alternatives gives an empty list.
    """
    _, _, text = message.partition("choose ")
    text = re.sub(r" \(.*\)| or more", "", text.strip())
    alternatives = [re.split(" and | with ", part) for part in re.split(", or | or ", text)]
    return [dict(_setting(item) for item in parts) for parts in alternatives if text]


def _setting(text: str) -> tuple[str, str]:
    assert re.fullmatch(r"[\w./@]+=[\w.]+", text), f"not a setting: {text}"
    key, _, value = text.partition("=")
    return key, value


def changed(settings: Settings, changes: Settings) -> Settings:
    """The settings after a change. The keys of an option go with it when it is replaced."""
    sections = tuple(f"{group.replace('/', '.')}." for group in changes)
    kept = {key: value for key, value in settings.items() if not key.startswith(sections)}
    if "model" in changes:
        kept = {key: value for key, value in kept.items() if "@" not in key}
    return {**kept, **changes}
