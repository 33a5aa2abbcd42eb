"""HTML that cannot be broken by what is put into it: elements, tables, pictures, the whole page."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

VOID = ("img", "meta", "br", "hr")  # elements without an end
LINK = re.compile(r"https://[^\s<>\"';,]+")


class Html(str):
    """Markup, which is inserted as it is; any other text is escaped."""

    __slots__ = ()


class Section(NamedTuple):
    """A part of the page with its own entry in the table of contents."""

    title: str
    content: Html
    parts: tuple[Section, ...] = ()


def escaped(content: object) -> Html:
    """Content as text, unless it is markup already."""
    return content if isinstance(content, Html) else Html(html.escape(str(content), quote=True))


def joined(parts: Iterable[object], between: str = "\n") -> Html:
    """Parts one after the other."""
    return Html(between.join(escaped(part) for part in parts))


def element(name: str, *content: object, attributes: Mapping[str, str] | None = None) -> Html:
    """An element; text inside it, and values of attributes, are escaped."""
    given = "".join(f' {key}="{escaped(v)}"' for key, v in (attributes or {}).items())
    if name in VOID:
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{joined(content, '')}</{name}>")


def paragraph(*content: object, kind: str = "") -> Html:
    """A paragraph, of a class where one is given."""
    return element("p", *content, attributes={"class": kind} if kind else None)


def code(content: object) -> Html:
    """Something to type, or a name."""
    return element("code", content)


def linked(text: str) -> Html:
    """Text in which addresses of papers are links."""
    parts: list[object] = []
    end = 0
    for match in LINK.finditer(text):
        address = match[0].rstrip(".)")
        parts += [
            text[end : match.start()],
            element("a", address.removeprefix("https://"), attributes={"href": address}),
        ]
        end = match.start() + len(address)
    return joined([*parts, text[end:]], "")


def table(
    head: Sequence[object], rows: Iterable[Sequence[object]], *, caption: str, kind: str = ""
) -> Html:
    """A table that scrolls by itself where it is wider than the page; the first column is a head.

    Args:
        head: of the columns; none where empty.
        rows: cells, text or markup; one that is a `td` or `th` already is taken as it is.
        caption: what it shows.
        kind: class of the table.
    """
    lines = [element("caption", caption)]
    if head:
        titles = [element("th", cell, attributes={"scope": "col"}) for cell in head]
        lines.append(element("thead", element("tr", *titles)))
    body = []
    for first, *rest in rows:
        cells: list[object] = [element("th", first, attributes={"scope": "row"})]
        cells += [c if _is_cell(c) else element("td", c) for c in rest]
        body.append(element("tr", *cells))
    lines.append(element("tbody", *body))
    whole = element("table", *lines, attributes={"class": kind} if kind else None)
    attributes = {"class": "wide", "tabindex": "0", "role": "region", "aria-label": caption}
    return element("div", whole, attributes=attributes)


def _is_cell(content: object) -> bool:
    return isinstance(content, Html) and content.startswith("<td")


def figure(picture: Html, caption: object) -> Html:
    """A picture with its caption."""
    return element("figure", picture, element("figcaption", caption))


def image(path: Path, alternative: str, *, kind: str = "") -> Html:
    """A PNG or GIF file, embedded; of a class where one is given."""
    from PIL import Image

    with Image.open(path) as opened:
        width, height = opened.size
        form = str(opened.format).lower()
    content = base64.b64encode(path.read_bytes()).decode()
    return element(
        "img",
        attributes={
            "src": f"data:image/{form};base64,{content}",
            "alt": alternative,
            "width": str(width),
            "height": str(height),
            **({"class": kind} if kind else {}),
        },
    )


def page(title: str, lead: Html, sections: Sequence[Section]) -> str:
    """The whole page, complete in itself."""
    style = (resources.files("statecast.reports.page") / "style.css").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", attributes={"charset": "utf-8"}),
        element(
            "meta",
            attributes={"name": "viewport", "content": "width=device-width, initial-scale=1"},
        ),
        element("meta", attributes={"name": "color-scheme", "content": "light dark"}),
        element("title", title),
        element("style", Html(style)),
    )
    body = element(
        "body",
        element("header", element("h1", title), lead),
        element(
            "nav",
            element("h2", "Contents"),
            _contents(sections, "s"),
            attributes={"aria-label": "Contents"},
        ),
        element("main", *_placed(sections, "s", 2)),
    )
    whole = element("html", head, body, attributes={"lang": "en"})
    return f"<!DOCTYPE html>\n{whole}\n"


def _contents(sections: Sequence[Section], prefix: str) -> Html:
    """Nested lists of links to sections."""
    items = []
    for number, section in enumerate(sections, start=1):
        place = f"{prefix}{number}"
        link = element("a", section.title, attributes={"href": f"#{place}"})
        inner = [_contents(section.parts, f"{place}-")] if section.parts else []
        items.append(element("li", link, *inner))
    return element("ol", *items)


def _placed(sections: Sequence[Section], prefix: str, level: int) -> list[Html]:
    """Sections with their titles, at their places."""
    found = []
    for number, section in enumerate(sections, start=1):
        place = f"{prefix}{number}"
        found.append(
            element(
                "section",
                element(f"h{level}", section.title, attributes={"id": place}),
                section.content,
                *_placed(section.parts, f"{place}-", level + 1),
            )
        )
    return found
