"""What space-time diagrams are drawn on: lines, arrows, words, crosses and dots, as SVG."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

# Okabe and Ito's palette: told apart by colour-blind readers too; every colour is doubled by a shape or a dash.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, GREY = "#0072B2", "#D55E00", "#009E73", "#AA4499", "#B87A00", "#8A8F98"

WIDTH = 760.0
"""Of a diagram."""


@dataclass
class Canvas:
    """What is drawn so far, in pixels from the top left."""

    height: float
    width: float = WIDTH
    parts: list[str] = field(default_factory=list)
    words: list[tuple[float, float, float]] = field(default_factory=list)  # where words stand: from x to x, at y

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
        self.parts.append(
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
        self.parts.append(
            f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight} '
            f'stroke="#fff" stroke-width="4" stroke-linejoin="round" paint-order="stroke">'
            f"{escape(text)}</text>"
        )

    def cross(self, x: float, y: float, colour: str, kind: str, title: str = "") -> None:
        tip = f"<title>{escape(title)}</title>" if title else ""
        self.parts.append(
            f'<path class="{kind}" d="M{x - 5:.1f} {y - 5:.1f} l10 10 m0 -10 l-10 10" stroke="{colour}" '
            f'stroke-width="2.6" fill="none">{tip}</path>'
        )

    def dot(self, x: float, y: float, colour: str, kind: str, title: str = "", radius: float = 4.0) -> None:
        self.parts.append(
            f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}">'
            f"<title>{escape(title)}</title></circle>"
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
