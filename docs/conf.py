"""Sphinx settings: MyST pages, docstrings with $-maths, the furo theme."""

import re

project = "statecast"
author = "The statecast authors"
copyright = "2026, the statecast authors"  # noqa: A001
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "statecast"
autodoc_typehints = "none"
napoleon_attr_annotations = False
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_custom_sections = [("Errors", "Raises"), ("Class attributes", "params_style")]


def plain_docstring(*arguments):
    """Our docstrings write `code` and $maths$; reStructuredText wants ``code`` and directives."""
    lines = arguments[-1]
    text = "\n".join(lines)
    text = re.sub(
        r"\$\$(.+?)\$\$",
        lambda m: "\n\n.. math::\n\n   " + " ".join(m[1].split()) + "\n\n",
        text,
        flags=re.S,
    )
    text = re.sub(r"(?<!\$)\$([^$\n]+)\$(?!\$)", r":math:`\1`", text)
    # `code`, or a starred name outside it, which would begin emphasis.
    text = re.sub(
        r"(?<![`:\w])`([^`\n]+)`(?!`)|(?<=[ (])(\*[a-z_]+)(?=[,)])",
        lambda m: f"``{m[1] or m[2]}``",
        text,
    )
    lines[:] = text.split("\n")


def setup(app):
    """Register the hook."""
    app.connect("autodoc-process-docstring", plain_docstring, priority=100)
