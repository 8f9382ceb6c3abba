"""Settings of Sphinx: `make docs` builds the site in build/docs/.

The root of the repository is the source, so that links between README.md, docs/ and notebooks/ hold
on the site as they do in the repository.
"""

import re
from typing import Any

import vae_lightning

project = "vae_lightning"
author = copyright = "the vae_lightning developers"
version = release = vae_lightning.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "myst_nb",
]
root_doc = "docs/index"
templates_path = ["_templates"]
html_additional_pages = {"index": "redirect.html"}
include_patterns = ["docs/**.md", "notebooks/*.ipynb", "CHANGELOG.md", "CONTRIBUTING.md"]
exclude_patterns = [".*", "build", "data", "outputs"]

# Notebooks are shown with their stored output; the tests run them.
nb_execution_mode = "off"
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]

# The docstrings of Lightning and torch stay on their own sites.
autodoc_inherit_docstrings = False
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Shape"]
# `name` in a docstring is a name of Python.
default_role = "py:obj"

html_theme = "furo"
html_title = "vae_lightning"
html_theme_options: dict[str, Any] = {"footer_icons": []}
html_copy_source = False


def adapt(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turn what our docstrings write for readers of the source into reStructuredText.

    The star of a shape such as (K, B, *event) is not an emphasis, and each reference is a line.
    Napoleon takes words before a colon in the first line of a property for its type.
    """
    text = re.sub(r"(?<=[\s(])\*(?=[\w,)])", r"\\*", "\n".join(lines))
    lines[:] = [""] if what == "property" else []
    lines += re.sub(r"(?m)^(.*https?://\S+)\n(?=\S)", r"\1\n\n", text).split("\n")


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", adapt, priority=400)  # before Napoleon
