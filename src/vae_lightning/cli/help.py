"""`--help`: the groups, options and keys of a command, in the words of the comments in `conf/`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vae_lightning.cli.columns import (
    first_sentence,
    headline,
    prose,
    row,
    table,
    without_examples,
    wrapped,
)
from vae_lightning.config import CONF_DIR, nearest
from vae_lightning.config.comments import ConfigFile, Key, read
from vae_lightning.errors import ConfigError

# In the order of a first reading.
COMMANDS = ("train", "evaluate", "generate", "detect", "export", "summarize", "search", "benchmark")

_GROUPS = 20  # the column of their descriptions
MOST_OPTIONS = 15  # more are only counted
# Shown in the overview of a command if it has them.
MOST_USED = (
    "data.batch_size",
    "data.binarize",
    "model.latent_dim",
    "model.encoder.hidden",
    "objective.beta",
    "optimizer.lr",
    "trainer.max_epochs",
    "mode.count",
    "mode.format",
    "mode.draw_from",
    "mode.temperature",
)


class Help:
    """The help texts of one command."""

    def __init__(
        self, command: str, config: Any, defaults: Mapping[str, Any], folders: list[Path]
    ) -> None:
        """Find the groups of a command.

        Args:
            command: a file at the top of `conf/`, without its ending.
            config: composed, including the settings under `hydra`.
            defaults: the options of groups that are to be shown as defaults, if they differ from
                those of `config`.
            folders: further folders of configuration files.
        """
        self.command = command
        self.config = config
        self.folders = [CONF_DIR, *folders]
        chosen = {**config.hydra.runtime.choices, **defaults}
        self.choices = {
            group: option for group, option in chosen.items() if group.partition("/")[0] != "hydra"
        }
        self.groups = dict(self._groups("", "", command))
        self.groups.update({name: "" for name in self.choices if name not in self.groups})

    def overview(self) -> str:
        """The groups with their options, the most used keys, and examples."""
        file = self.file("", self.command)
        words, examples = without_examples(file.comment)
        # A command that chooses nothing works on folders.
        before = "[group=option ...]" if self.groups else "<folder> [<folder> ...]"
        parts = [prose(words), f"  python -m vae_lightning.{self.command} {before} [key=value ...]"]
        if self.groups:
            parts += [
                "Groups and their options (group=option, the default in brackets;\n"
                "--help <group> explains the options and their keys)",
                "\n".join(self._overview_of_group(name) for name in self.groups),
            ]
        parts += ["Keys (key=value)", table(self._with_values(self.keys("", self.command)))]
        used = [key for name in MOST_USED if (key := self._key(name))]
        if used:
            parts += ["Most used keys of the groups", table(self._with_values(used))]
        flags = []
        if self.groups:
            example = next(
                name for name in ("model/prior", "mode", *self.groups) if name in self.groups
            )
            flags.append((f"--help {example}", "the options and keys of a group"))
            flags.append((f"--help {example}={self.options(example)[-1]}", "one option"))
        flags.append(("--cfg job", "show the whole configuration; do not run"))
        if self.groups:
            flags.append(("-m", "run a job for each combination of values, as in seed=0,1,2"))
        flags.append(("--version", "the version of vae_lightning"))
        parts += ["Flags", "\n".join(row(*flag) for flag in flags)]
        return "\n\n".join([*parts, *(["Examples", examples] if examples else [])])

    def topic(self, name: str) -> str:
        """A group with its options and their keys, or one option of it.

        Args:
            name: `group` or `group=option`.

        Raises:
            ConfigError: the command has no such group, or the group no such option.
        """
        group, equals, option = name.partition("=")
        if group not in self.groups:
            raise ConfigError(self._unknown(group))
        options = self.options(group)
        if not equals:
            title = f"{group}: {' '.join(self.groups[group].split())}".rstrip(": ")
            usage = f"  python -m vae_lightning.{self.command} {group}=<option>"
            if len(options) > MOST_OPTIONS:
                rows = [(item, headline(self.file(group, item).comment)) for item in options]
                more = f"--help {group}=<option> shows one in full."
                return "\n\n".join([prose(title), usage, table(rows, column=24), more])
            return "\n\n".join(
                [prose(title), usage, *(self._page(group, item) for item in options)]
            )
        chosen = option.strip("[]").split(",")
        for item in chosen:
            if item not in options:
                raise ConfigError(f"{group}={item} does not exist: {nearest(item, options)}")
        return "\n\n".join(self._page(group, item) for item in chosen)

    def _unknown(self, topic: str) -> str:
        """The message for a topic that is not a group: the group of a key, or the nearest one."""
        if not self.groups:
            return f"{topic} is not a group: {self.command} has none; --help lists its keys"
        for name in sorted(self.groups, key=len, reverse=True):
            if topic.startswith(f"{_package(name)}."):
                return f"{topic} is not a group: --help {name} shows its keys"
        return f"{topic} is not a group of {self.command}: {nearest(topic, self.groups)}"

    def _overview_of_group(self, name: str) -> str:
        options = self.options(name)
        default = _names(self.choices[name])
        shown = " ".join(f"[{item}]" if item in default else item for item in options)
        if len(options) > MOST_OPTIONS:
            shown = f"{len(options)} options: --help {name}"
        rows = [row(name, self.groups[name], _GROUPS), *wrapped(shown, _GROUPS)]
        return "\n".join(rows)

    def _page(self, group: str, option: str) -> str:
        """One option: what it is, what it is built on, and its keys."""
        file = self.file(group, option)
        default = " (default)" if option in _names(self.choices[group]) else ""
        parts = [f"{group}={option}{default}", prose(file.comment, 2)]
        others = [choice for choice in file.choices if choice.group]
        parents = ", ".join(
            f"{group}={str(choice.option).partition('@')[0]}"
            for choice in file.choices
            if not choice.group
        )
        if parents:
            combined = "Has the keys of" if file.keys or others else "Consists of"
            parts.append("\n".join(wrapped(f"{combined} {parents}.", 2)))
        if others:
            chosen = [
                f"{_joined(group, choice.group)}={_shown(choice.option)}" for choice in others
            ]
            parts.append("\n".join(wrapped(f"Chooses {', '.join(chosen)}.", 2)))
        inherited = {key.name: key for key in self.keys(group, option)}
        names = [self._full_name(group, file, key) for key in file.keys]
        keys = [
            Key(name, key.value, inherited[name].comment)
            for name, key in zip(names, file.keys, strict=True)
        ]
        if keys:
            parts.append(table(map(_key_row, keys)))
        return "\n".join(part for part in parts if part)

    def _groups(self, group: str, package: str, option: str) -> Iterator[tuple[str, str]]:
        """The groups that an option leads to, with the comments on them."""
        for choice in self.file(group, option).choices:
            if not choice.group:
                yield from self._groups(group, package, str(choice.option).partition("@")[0])
            elif (name := _joined(group, choice.group)) in self.choices:
                yield name, choice.comment or self._comment(group, choice.group)
                for chosen in _names(self.choices[name]):
                    yield from self._groups(name.partition("@")[0], _package(name), chosen)

    def _comment(self, group: str, name: str) -> str:
        """The comment on a group, from the first option of its parent that has one."""
        for option in self.options(group):
            for choice in self.file(group, option).choices:
                if choice.group == name and choice.comment:
                    return choice.comment
        return ""

    def keys(self, group: str, option: str) -> list[Key]:
        """The keys of an option and of those that it is built on."""
        file = self.file(group, option)
        found: dict[str, Key] = {}
        for choice in file.choices:
            if not choice.group and "@" not in str(choice.option):
                found |= {key.name: key for key in self.keys(group, str(choice.option))}
        for key in file.keys:
            name = self._full_name(group, file, key)
            known = found.get(name)
            found[name] = Key(name, key.value, key.comment or (known.comment if known else ""))
        return list(found.values())

    def _key(self, name: str) -> Key | None:
        """A key of the groups, from the file of the option that is chosen."""
        for group in sorted(self.groups, key=len, reverse=True):
            if name.startswith(f"{_package(group)}."):
                for option in _names(self.choices[group]):
                    for key in self.keys(group, option):
                        if key.name == name:
                            return key
        return None

    def _with_values(self, keys: list[Key]) -> list[tuple[str, str]]:
        """The rows of keys, with the values of the composed configuration."""
        from omegaconf import OmegaConf

        plain = OmegaConf.to_container(self.config, resolve=False)
        rows = []
        for key in keys:
            value = plain
            for part in key.name.split("."):
                value = value.get(part) if isinstance(value, dict) else None
            shown = None if key.value is None else _shown(value)
            rows.append(_key_row(Key(key.name, shown, key.comment)))
        return rows

    def options(self, group: str) -> list[str]:
        folder = group.partition("@")[0]
        files = [file for place in self.folders for file in (place / folder).glob("*.yaml")]
        return sorted({file.stem for file in files})

    def file(self, group: str, option: str) -> ConfigFile:
        path = Path(group.partition("@")[0]) / f"{option}.yaml"
        for folder in self.folders:
            if (folder / path).is_file():
                return read(folder / path)
        return ConfigFile("", False, [], [])

    def _full_name(self, group: str, file: ConfigFile, key: Key) -> str:
        return key.name if file.is_global or not group else f"{_package(group)}.{key.name}"


def commands() -> str:
    """The commands of the package, with a line each."""
    rows = [(name, first_sentence(read(CONF_DIR / f"{name}.yaml").comment)) for name in COMMANDS]
    return "\n\n".join(
        [
            "Variational autoencoders in PyTorch Lightning",
            "  vae-lightning <command> [group=option ...] [key=value ...]\n"
            "  python -m vae_lightning.<command> ...",
            table(rows, column=14),
            "  vae-lightning <command> --help    its groups, keys and examples\n"
            "  vae-lightning --version",
        ]
    )


def _key_row(key: Key) -> tuple[str, str]:
    return (key.name if key.value is None else f"{key.name}={key.value}"), key.comment


def _package(group: str) -> str:
    """The place of a group's keys."""
    folder, _, package = group.partition("@")
    return package or folder.replace("/", ".")


def _joined(parent: str, name: str) -> str:
    """The whole name of a group that a file of another group names."""
    if not parent or name.startswith("/"):
        return name.removeprefix("/")
    folder, at, package = name.partition("@")
    path = f"{parent.partition('@')[0]}/{folder}"
    return f"{path}@{_package(parent)}.{package}" if at else path


def _names(choice: Any) -> list[str]:
    """The options of a choice: none, one, or several."""
    if choice is None:
        return []
    return [choice] if isinstance(choice, str) else [str(item) for item in choice]


def _shown(value: Any) -> str:
    """A value as it is written on the command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(_shown, value))}]"
    return str(value)
