"""How results look in a notebook: fragments of HTML that are readable on a light page and on a dark one."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

_GOOD, _BAD, _OPEN = "#00654a", "#a33a00", "#5a5f68"  # white words on each are told from it, on whatever page
_BADGE = "display:inline-block;padding:.1em .6em;border-radius:.6em;color:#fff;font-weight:600;background:{colour}"
_CELL = "text-align:left;padding:.15em .8em .15em 0;vertical-align:top;background:none;color:inherit"
_ON_WHITE = "background:#fff;color:#1a1d21;max-width:100%"


class Diagram:
    """A picture that a notebook shows as it is. ``svg`` is its text.

    >>> import testbed
    >>> picture = testbed.fabric("pair").draw()
    >>> picture
    <Diagram: pair>
    >>> picture.svg.startswith("<svg")
    True
    """

    def __init__(self, svg: str, title: str) -> None:
        self.svg, self.title = svg, title

    def save(self, path: str | Path) -> Path:
        """Write the SVG to a file; where it is."""
        target = Path(path)
        target.write_text(self.svg, encoding="utf-8")
        return target

    def __repr__(self) -> str:
        return f"<Diagram: {self.title}>"

    def _repr_svg_(self) -> str:
        """On white, for which its colours are chosen, whatever the page is."""
        return self.svg.replace("<svg ", f'<svg style="{_ON_WHITE}" ', 1)


def badge(text: str, held: bool | None) -> str:
    """A word that says how it stands: held, did not hold, or neither (None). The word itself tells, not the colour."""
    colour = _OPEN if held is None else _GOOD if held else _BAD
    return f'<span style="{_BADGE.format(colour=colour)}">{escape(text)}</span>'


def table_html(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A plain table."""
    head = "".join(f'<th scope="col" style="{_CELL}">{escape(text)}</th>' for text in headings)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{_cell(value)}</td>' for value in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def lines_html(rows: Sequence[tuple[str, str]]) -> str:
    """Headings with what is to be said of each; the second of a pair is HTML already."""
    body = "".join(
        f'<tr><th scope="row" style="{_CELL}">{escape(heading)}</th><td style="{_CELL}">{told}</td></tr>'
        for heading, told in rows
    )
    return f"<table><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return escape(str(value))
