"""Sphinx settings: MyST pages, docstrings with $-maths, formulas as MathML, the furo theme."""

import re

from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import tex2mathml

project = "statecast"
author = "The statecast authors"
copyright = "2026, the statecast authors"  # noqa: A001
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
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
    # `code`, or a starred name outside it, which would begin emphasis; formulas stay.
    text = re.sub(
        r"(:math:`[^`]*`)|(?<![`:\w])`([^`\n]+)`(?!`)|(?<=[ (])(\*[a-z_]+)(?=[,)])",
        lambda m: m[1] or f"``{m[2] or m[3]}``",
        text,
    )
    lines[:] = text.split("\n")


# What docutils reads in another way than LaTeX does, and how it has to be written for it.
UNDERSTOOD_LATEX = {
    r"\\[bB]ig(?![a-zA-Z])": "",  # brackets grow by themselves
    r"\\dots(?![a-zA-Z])": r"\\ldots",
    r"(\\[td]?frac)(\w)(\w)": r"\1{\2}{\3}",
    r"(\\(?:hat|tilde|bar))(?: *\{(\w)\}| (\w))(?=[_^])": r"\1{\2\3}{}",  # an index is no limit
}


def mathml(formula, *, block):
    """A LaTeX formula as MathML, which browsers draw without a script or a network."""
    for written, understood in UNDERSTOOD_LATEX.items():
        formula = re.sub(written, understood, formula)
    return tex2mathml(formula, as_block=block)


def visit_math(translator, node):
    """Write a formula within a line."""
    translator.body.append(mathml(node.astext(), block=False))
    raise SkipNode


def visit_math_block(translator, node):
    """Write a formula on lines of its own, which scrolls where it is wider than the page."""
    formula = mathml(node.astext(), block=True)
    translator.body.append(
        f'<div class="math" style="overflow: auto hidden; padding: .3em 0">{formula}</div>\n'
    )
    raise SkipNode


def setup(app):
    """Register the hook of docstrings, and how formulas are written."""
    app.connect("autodoc-process-docstring", plain_docstring, priority=100)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
