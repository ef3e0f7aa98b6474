"""What space-time diagrams are drawn on: lines, arrows, words, crosses and dots, as SVG."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

# Okabe and Ito's palette: told apart by colour-blind readers too; every colour is doubled by a shape or a dash.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, GREY = "#0072B2", "#D55E00", "#009E73", "#AA4499", "#B87A00", "#8A8F98"

PALETTE = (
    (BLUE, BLUE, "#5ab4f0"),
    (VERMILION, "#b34700", "#ff9a5c"),
    (GREEN, "#007a58", "#4fd1a5"),
    (PURPLE, "#963a86", "#e39ad8"),
    (ORANGE, "#8a5b00", "#e9b24d"),
    (GREY, "#646b75", "#9aa3ae"),
    ("#444B55", "#444b55", "#b9c1cb"),
    ("#B9BEC6", "#646b75", "#5b646f"),
    ("#C9CDD3", "#646b75", "#4a525c"),
    ("#2A2F36", "#2a2f36", "#d5dae0"),
    ("#E3E6EA", "#646b75", "#2c323a"),
    ("#fff", "#fff", "#15181d"),
    ("#ffffff", "#ffffff", "#15181d"),
    ("#d7e8f7", "#d7e8f7", "#1c3a52"),
    ("#fbe3c4", "#fbe3c4", "#4a3616"),
    ("#dcedd0", "#dcedd0", "#2a4120"),
    ("#ead9ee", "#ead9ee", "#412f46"),
)
"""All colours of pictures on pages: as drawn, of text on white paper (which must be darker to be read), and on a dark
screen. Pages swap them by rules of style (templates/base.html.j2)."""

WIDTH = 760.0
"""Of a diagram."""


@dataclass
class Canvas:
    """What is drawn so far, in pixels from the top left."""

    height: float
    width: float = WIDTH
    parts: list[str] = field(default_factory=list)
    words: list[tuple[float, float, float]] = field(default_factory=list)  # where words stand: from x to x, at y
    at_ns: int | None = (
        None  # when what is drawn from now on comes about, for those who step through; None: always there
    )

    def put(self, part: str) -> None:
        """An element, with when it comes about."""
        self.parts.append(part if self.at_ns is None else f'<g data-at="{self.at_ns}">{part}</g>')

    def free(self, x: float, y: float, width: float) -> float:
        """The first height from ``y`` down at which words of this width (negative: to the left) hide no others."""
        left, right = sorted((x, x + width))
        while any(
            left < other_right and other_left < right and abs(y - at) < 13 for other_left, other_right, at in self.words
        ):
            y += 2
        self.words.append((left, right, y))
        return y

    def line(
        self,
        x1: float,
        y1: float,
        x2: float,
        y2: float,
        colour: str,
        kind: str,
        width: float = 1.4,
        dash: str = "",
        arrow: bool = False,
    ) -> None:
        extra = f' stroke-dasharray="{dash}"' if dash else ""
        extra += f' marker-end="url(#tip-{colour[1:]})"' if arrow else ""
        self.put(
            f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            f'stroke="{colour}" stroke-width="{width}"{extra}/>'
        )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        kind: str,
        anchor: str = "middle",
        colour: str = "currentColor",
        bold: bool = False,
    ) -> None:
        weight = ' font-weight="600"' if bold else ""
        self.put(
            f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight} '
            f'stroke="#fff" stroke-width="4" stroke-linejoin="round" paint-order="stroke">'
            f"{escape(text)}</text>"
        )

    def cross(self, x: float, y: float, colour: str, kind: str, title: str = "") -> None:
        tip = f"<title>{escape(title)}</title>" if title else ""
        self.put(
            f'<path class="{kind}" d="M{x - 5:.1f} {y - 5:.1f} l10 10 m0 -10 l-10 10" stroke="{colour}" '
            f'stroke-width="2.6" fill="none">{tip}</path>'
        )

    def dot(self, x: float, y: float, colour: str, kind: str, title: str = "", radius: float = 4.0) -> None:
        self.put(
            f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}">'
            f"<title>{escape(title)}</title></circle>"
        )

    def bar(self, x: float, y: float, width: float, height: float, colour: str, title: str) -> None:
        self.put(
            f'<rect class="bar" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}">'
            f"<title>{escape(title)}</title></rect>"
        )

    def svg(self, title: str) -> str:
        tips = "".join(
            f'<marker id="tip-{colour[1:]}" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" markerHeight="7" '
            f'orient="auto-start-reverse"><path d="M0 0.8 L8 4 L0 7.2 z" fill="{colour}"/></marker>'
            for colour in (BLUE, VERMILION, GREEN, GREY)
        )
        return (
            f'<svg class="spacetime" xmlns="http://www.w3.org/2000/svg" '
            f'viewBox="0 0 {self.width:.0f} {self.height:.0f}" role="img" aria-label="{escape(title)}" '
            f'font-family="system-ui, sans-serif" font-size="13">'
            f"<title>{escape(title)}</title><defs>{tips}</defs>" + "\n".join(self.parts) + "</svg>"
        )
