"""Writes docs/reference/ and docs/api/: every group, option and key, and every module.

    python docs/reference.py

The words are those of the comments in conf/ and of the docstrings. A test compares the files with
what this script writes.
"""

import ast
import re
from pathlib import Path

from vae_lightning.cli.columns import first_sentence, headline, without_examples
from vae_lightning.cli.help import COMMANDS, MOST_OPTIONS, Help
from vae_lightning.config import CONF_DIR, compose
from vae_lightning.config.comments import ConfigFile, Key

DOCS = Path(__file__).parent
PACKAGE = DOCS.parent / "src" / "vae_lightning"
NOTE = "<!-- Written by docs/reference.py from conf/ and the docstrings. Do not edit. -->"

# The folders of the package that people import from, and what is in them.
ROOMS = {
    "api": "The commands as functions, `fit` for arrays, and the scikit-learn transformer.",
    "models": "From a batch of images to a `Trace`.",
    "networks": "Encoders and decoders.",
    "distributions": "Posteriors, priors, likelihoods, and what they are built from.",
    "objectives": "From a `Trace` to the loss.",
    "metrics": "`torchmetrics.Metric` subclasses, and functions of a model or a `Trace`.",
    "data": "Data sets, splits, binarisation and batches.",
    "callbacks": "Pictures, TensorBoard's pages, checkpoints, the terminal.",
    "drawing": "Grids, figures and latent traversals.",
    "training": "The LightningModule, optimisers and schedules.",
}


def pages() -> dict[str, str]:
    """The text of each page, by its path below docs/."""
    helps = [help_of(command) for command in COMMANDS]
    helps.insert(1, help_of("train", "model=hierarchical"))
    groups: dict[str, Help] = {}
    for shown in helps:
        for group in shown.groups:
            groups.setdefault(group, shown)
    # The second noise schedule of an objective, say, has the options of the first.
    groups = {group: shown for group, shown in groups.items() if "@" not in group}
    texts = {f"reference/{name_of(group)}.md": group_page(h, group) for group, h in groups.items()}
    texts |= {f"reference/{h.command}.md": command_page(h, groups) for h in helps[2:] + helps[:1]}
    texts["reference/index.md"] = index_page(helps[:1] + helps[2:], groups)
    texts |= {f"api/{room}.md": api_page(room, words) for room, words in ROOMS.items()}
    texts["api/index.md"] = api_index()
    return texts


def help_of(command: str, *overrides: str) -> Help:
    return Help(command, compose(command, overrides, with_hydra=True), {}, [])


def name_of(group: str) -> str:
    """The name of the page of a group, which may have the name of a command."""
    return f"{group}_group" if group in COMMANDS else group.replace("/", "_")


# -- conf/ ----------------------------------------------------------------------------------------


def command_page(shown: Help, groups: dict[str, Help]) -> str:
    file = shown.file("", shown.command)
    words, examples = without_examples(file.comment)
    parts = [NOTE, f"# {shown.command}", prose(words)]
    if examples:
        parts.append(code(examples))
    rows = [
        f"| [`{group}`]({name_of(group)}.md) | {default(shown, group)} | {cell(comment)} |"
        for group, comment in shown.groups.items()
        if group in groups
    ]
    if rows:
        parts += ["## Groups", "\n".join(["| group | default | chooses |", "|---|---|---|", *rows])]
    parts += ["## Keys", key_table(shown.keys("", shown.command))]
    return "\n\n".join(parts) + "\n"


def group_page(shown: Help, group: str) -> str:
    parts = [NOTE, f"# {group}", prose(shown.groups[group])]
    options = shown.options(group)
    # Long lists are read by their first words, as in --help.
    summary = headline if len(options) > MOST_OPTIONS else first_sentence
    rows = [
        f"| [`{option}`](#{slug(shown, group, option)}) "
        f"| {cell(summary(shown.file(group, option).comment))} |"
        for option in options
    ]
    parts.append("\n".join(["| option | |", "|---|---|", *rows]))
    for option in options:
        parts += option_section(shown, group, option, shown.file(group, option))
    return "\n\n".join(parts) + "\n"


def slug(shown: Help, group: str, option: str) -> str:
    """The anchor of an option's heading, as GitHub and MyST make it."""
    return (
        heading(shown, group, option)
        .lower()
        .translate({ord(c): None for c in "`()"})
        .replace(" ", "-")
    )


def heading(shown: Help, group: str, option: str) -> str:
    chosen = shown.choices.get(group)
    is_default = option in (chosen if isinstance(chosen, list) else [chosen])
    return f"`{option}` (default)" if is_default else f"`{option}`"


def option_section(shown: Help, group: str, option: str, file: ConfigFile) -> list[str]:
    parts = [f"## {heading(shown, group, option)}", prose(file.comment)]
    targets = re.findall(
        r"^_target_: (\S+)", (CONF_DIR / group / f"{option}.yaml").read_text("utf-8"), re.M
    )
    parts += [f"Class: {class_link(target)}" for target in targets]
    parents = [str(c.option).partition("@")[0] for c in file.choices if not c.group]
    others = [choice for choice in file.choices if choice.group]
    if parents:
        names = ", ".join(f"`{group}={parent}`" for parent in parents)
        parts.append(f"{'Has the keys of' if file.keys or others else 'Consists of'} {names}.")
    if others:
        names = ", ".join(f"`{c.group.removeprefix('/')}={shown_option(c.option)}`" for c in others)
        parts.append(f"Chooses {names}.")
    inherited = {key.name: key for key in shown.keys(group, option)}
    keys = []
    for key in file.keys:
        name = shown._full_name(group, file, key)
        keys.append(Key(name, key.value, inherited[name].comment))
    if keys:
        parts.append(key_table(keys))
    return parts


def key_table(keys: list[Key]) -> str:
    if not any(key.comment for key in keys):  # the settings of an experiment
        rows = [f"| `{key.name}` | {value(key)} |" for key in keys]
        return "\n".join(["| key | value |", "|---|---|", *rows])
    rows = [f"| `{key.name}` | {value(key)} | {cell(key.comment)} |" for key in keys]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows])


def value(key: Key) -> str:
    if key.value is None:
        return ""
    text = " ".join(key.value.split()).replace("|", "\\|")
    return f"`{text}`" if text else ""


def shown_option(option: str | list[str] | None) -> str:
    return f"[{','.join(option)}]" if isinstance(option, list) else str(option or "null")


def default(shown: Help, group: str) -> str:
    chosen = shown.choices[group]
    names = chosen if isinstance(chosen, list) else [chosen] if chosen else []
    return " ".join(f"`{name}`" for name in names)


def class_link(target: str) -> str:
    _, *place, _name = target.split(".")
    if target.startswith("vae_lightning.") and place and place[0] in ROOMS:
        return f"[`{target}`](../api/{place[0]}.md)"
    return f"`{target}`"


def index_page(helps: list[Help], groups: dict[str, Help]) -> str:
    commands = [
        f"| [`{h.command}`]({h.command}.md) "
        f"| {cell(first_sentence(h.file('', h.command).comment))} |"
        for h in helps
    ]
    rows = [
        f"| [`{group}`]({name_of(group)}.md) | {' '.join(f'`{o}`' for o in listed(h, group))} "
        f"| {cell(h.groups[group])} |"
        for group, h in groups.items()
    ]
    names = [*[h.command for h in helps], *map(name_of, groups)]
    return (
        "\n\n".join(
            [
                NOTE,
                "# Reference of the configuration",
                "Each command has groups and keys. A group is a choice between options, and each "
                "option has keys. `--help <group>` shows the same in a terminal.",
                "## Commands",
                "\n".join(["| command | |", "|---|---|", *commands]),
                "## Groups",
                "\n".join(["| group | options | chooses |", "|---|---|---|", *rows]),
                toctree(names),
            ]
        )
        + "\n"
    )


def listed(shown: Help, group: str) -> list[str]:
    options = shown.options(group)
    return options if len(options) <= MOST_OPTIONS else [*options[:8], "..."]


# -- docstrings -----------------------------------------------------------------------------------


def api_page(room: str, words: str) -> str:
    parts = [NOTE, f"# vae_lightning.{room}", words]
    files = sorted((PACKAGE / room).rglob("*.py"), key=lambda f: (-len(f.parts), f.as_posix()))
    for file in files:
        if file.name == "__init__.py":
            continue
        names = file.relative_to(PACKAGE).with_suffix("").parts
        doc = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
        module = ".".join(("vae_lightning", *names))
        parts += [
            f"## {'.'.join(names[1:])}",
            f"```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n```" if doc else "",
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def api_index() -> str:
    rows = [f"| [`vae_lightning.{room}`]({room}.md) | {words} |" for room, words in ROOMS.items()]
    return (
        "\n\n".join(
            [
                NOTE,
                "# Reference of the Python modules",
                "[Python interface](../python.md) introduces what most users need. These pages "
                "list every public class and function, with shapes, units, errors and references.",
                "\n".join(["| module | |", "|---|---|", *rows]),
                toctree(list(ROOMS)),
            ]
        )
        + "\n"
    )


# -- Markdown -------------------------------------------------------------------------------------


def toctree(names: list[str]) -> str:
    return "\n".join(["```{toctree}", ":hidden:", "", *names, "```"])


def prose(text: str) -> str:
    """A comment as Markdown: its lines with an indentation become blocks of code."""
    blocks = re.split(r"\n\s*\n", text)
    return "\n\n".join(code(b) if b.startswith("  ") else escaped(b) for b in blocks if b.strip())


def code(text: str) -> str:
    lines = [line.removeprefix("  ") for line in text.strip("\n").splitlines()]
    return "\n".join(["```", *lines, "```"])


def cell(text: str) -> str:
    return escaped(" ".join(text.split())).replace("|", "\\|")


def escaped(text: str) -> str:
    """Text with what Markdown would read as markup escaped, outside of backticks."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"([<*])", r"\\\1", part) for part in parts
    )


def main() -> None:
    wanted = pages()
    for folder in ("reference", "api"):
        (DOCS / folder).mkdir(exist_ok=True)
        for file in (DOCS / folder).glob("*.md"):
            if f"{folder}/{file.name}" not in wanted:
                file.unlink()
    for name, text in wanted.items():
        (DOCS / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
