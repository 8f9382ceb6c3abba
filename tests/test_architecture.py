"""The layers of the package: which part may import which, and no circles between files."""

import ast
from pathlib import Path

import pytest

import vae_lightning

PACKAGE = Path(vae_lightning.__file__).parent
COMMANDS = {"train", "evaluate", "generate", "detect", "export", "summarize", "search", "benchmark"}

_BASE = {"utils", "errors"}
_MODELS = {"models", "networks", "distributions"} | _BASE
_TOOLS = {"objectives", "metrics", "drawing", "data"} | _MODELS
_CONFIG = {"config"} | _TOOLS
_CLI = {"cli", "checkpoint"} | _CONFIG
_TASK = {"callbacks"} | _CLI

# What each part may import, besides itself.
ALLOWED = {
    **{command: {"cli", "config", "training", "evaluation"} for command in COMMANDS},
    "evaluate": {"cli", "evaluation", "summarizing"},
    "__main__": {"cli", "config"},
    "api": COMMANDS | _CLI,
    "train": {"cli", "training", "evaluation", "summarizing"},
    "generate": {"cli", "generation"},
    "detect": {"cli", "detection"},
    "export": {"cli", "exporting"},
    "summarize": {"cli", "summarizing"},
    "search": {"cli", "searching"},
    "benchmark": {"cli", "benchmarking"},
    "training": _TASK,
    "evaluation": _TASK,
    "generation": _TASK,
    "detection": {"summarizing"} | _TASK,
    "exporting": _TASK,
    "summarizing": {"cli", "config", "errors"},
    "searching": {"cli", "config", "errors", "training", "summarizing", "objectives", "utils"},
    "benchmarking": _TASK | {"training", "generation"},
    "callbacks": _CLI,
    "cli": _CLI - {"cli"},
    "checkpoint": _CONFIG,
    "config": _TOOLS,
    "drawing": {"metrics"} | _MODELS,
    "metrics": {"data"} | _MODELS,
    "objectives": _MODELS,
    "models": _MODELS,
    "networks": _BASE,
    "distributions": {"networks"} | _BASE,
    "data": _BASE,
    "utils": {"errors"},
    "errors": set(),
}


def module_name(file: Path) -> str:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


FILES = {module_name(file): file for file in PACKAGE.rglob("*.py")}


def imports(file: Path) -> set[str]:
    """The files of the package that a file imports, inside of functions too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vae_lightning"):
            base = (node.module or "").partition(".")[2]
            # `from package import module` and `from module import name`.
            names = {f"{base}.{alias.name}".strip(".") for alias in node.names}
            found |= {name if name in FILES else base for name in names}
        elif isinstance(node, ast.Import):
            assert not any(alias.name.startswith("vae_lightning") for alias in node.names), file
    # The package itself only holds the version, and hands names on.
    return found - {""}


def test_the_top_of_the_package_holds_the_commands_checkpoint_and_errors() -> None:
    top = {file.stem for file in PACKAGE.glob("*.py")}
    assert top == COMMANDS | {"__init__", "__main__", "checkpoint", "errors"}
    folders = {folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").is_file()}
    assert folders == ALLOWED.keys() - COMMANDS - {"__main__", "checkpoint", "errors"}


@pytest.mark.parametrize("name", sorted(set(FILES) - {""}))
def test_imports_follow_the_layers(name: str) -> None:
    part = name.partition(".")[0]
    imported = {other.partition(".")[0] for other in imports(FILES[name])}
    assert imported - {part} <= ALLOWED[part]


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = {name: imports(file) - {name} for name, file in FILES.items()}
    while graph:
        # Files that import nothing that is left are in no circle.
        free = {name for name, others in graph.items() if not others & graph.keys()}
        assert free, f"each of these leads to a circle: {sorted(graph)}"
        graph = {name: others for name, others in graph.items() if name not in free}


def text_without_encoding(file: Path) -> list[int]:
    """The lines on which a file reads or writes text in the encoding of the machine."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name)):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        keywords = {keyword.arg for keyword in node.keywords}
        mode = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else ""
        opens = name == "open" and mode in ("r", "w", "a", "x")  # of a Path
        if "encoding" not in keywords and (opens or name in ("read_text", "write_text")):
            found.append(node.lineno)
    return found


@pytest.mark.parametrize("name", sorted(FILES))
def test_text_files_are_utf_8_on_every_machine(name: str) -> None:
    assert text_without_encoding(FILES[name]) == []
