"""The reference in docs/ says what conf/ says, and the pages link to what exists."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), *sorted(ROOT.glob("*.md"))]


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_of_the_reference_are_what_the_script_writes(reference: ModuleType) -> None:
    wanted = reference.pages()
    found = {
        file.relative_to(DOCS).as_posix(): file.read_text(encoding="utf-8")
        for folder in ("reference", "api")
        for file in (DOCS / folder).glob("*.md")
    }
    stale = [name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)]
    assert not stale, "run `make docs` and commit what it changes"


def test_a_key_is_listed_with_its_default_and_its_comment(reference: ModuleType) -> None:
    text = reference.pages()["reference/model_prior.md"]
    assert "| `model.prior.bins` | `8` | Number of pieces of each spline. |" in text


def test_text_outside_of_backticks_is_escaped(reference: ModuleType) -> None:
    assert reference.cell("a <run> of `<run>` or 2 | 3") == r"a \<run> of `<run>` or 2 \| 3"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http", "../../actions")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


def anchors(text: str) -> set[str]:
    """Those of the headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
