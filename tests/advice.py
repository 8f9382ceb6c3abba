"""The settings that an error message tells its reader to choose."""

import re

# Settings by key, as on a command line.
Settings = dict[str, str]


def advice(message: str) -> list[Settings]:
    """The alternatives of a message: "choose a=1 and b=2, or c=3 (there is also 4)".

    Advice that is not a setting, such as "or leave it out", is not returned.
    """
    _, _, text = message.partition(": choose ")
    text = re.sub(r" \(.*\)| or more", "", text.strip())
    alternatives = [re.split(" and | with ", part) for part in re.split(", or | or ", text)]
    return [
        {key: value for key, _, value in (item.partition("=") for item in parts)}
        for parts in alternatives
        if all(re.fullmatch(r"[\w./@]+=[\w.]+", item) for item in parts)
    ]


def changed(settings: Settings, changes: Settings) -> Settings:
    """The settings after a change. The keys of an option go with it when it is replaced."""
    sections = tuple(f"{group.replace('/', '.')}." for group in changes)
    kept = {key: value for key, value in settings.items() if not key.startswith(sections)}
    if "model" in changes:
        kept = {key: value for key, value in kept.items() if "@" not in key}
    return {**kept, **changes}
