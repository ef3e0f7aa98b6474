"""Plots of studies, as SVG or PNG. Colours of Okabe and Ito; every series is told by marker and line as well."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import ScaledTranslation, Transform

from testbed.report.maps import Map, maps
from testbed.report.words import probability
from testbed.study.document import human, parameter_name
from testbed.study.fit import CONFIDENCE, Fit

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#B87A00", "#444B55")
_MARKERS = ("o", "^", "D", "v", "P", "X")
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8A8F98",
    "text.color": "#2A2F36",
    "axes.labelcolor": "#2A2F36",
    "axes.grid": True,
    "grid.color": "#E3E6EA",
    "grid.linewidth": 0.8,
    "xtick.color": "#444B55",
    "ytick.color": "#444B55",
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "oae-testbed",
}
_DECADES_FOR_LOG = 1.2
_MAP = mpl.colormaps["cividis"].resampled(48)  # even in lightness: the same in grey, and to colour-blind eyes
_NOTHING_SEEN, _HATCH, _BREAK = (0.93, 0.94, 0.95, 1.0), "#C3C8CE", "#D55E01"
_MOST_WRITTEN = 14  # columns of a map in whose cells there is room for figures
_MOST_LETTERS = 75  # of names that stand side by side
_TOLD = "told:"


def svg_of(figure: Figure, label: str = "Plot") -> str:
    """The figure as an SVG element to put into a page: the same figure gives the same text. label: what those are told
    who can't see it."""
    buffer = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)
    return re.sub(rf'<g id="{_TOLD}([^"]*)">', r"<g><title>\1</title>", text[text.index("<svg") :])


def _tell(axes: Axes, x: float, y: float, text: str, size: float = 12.0, moved: Transform | None = None) -> None:
    """What a reader is told who points at this place: an invisible mark there, which svg_of gives a title."""
    where = moved or axes.transData
    axes.plot([x], [y], "s", markersize=size, alpha=0, gid=_TOLD + text, zorder=9, transform=where)


def point_words(results: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """``5 µs: 0.014, 99 % interval 0.009 – 0.02 (confidence sequence); 14 of 1000 rounds broke; trusted``."""
    counted = f"{row['broken']} of {row['rounds']} rounds broke"
    if results["measure"] != "broken_round":
        counted = f"{row['disagreements']} of {row['instances']} instances disagree"
    kind = "confidence sequence" if row["looked"] else "Clopper–Pearson"
    interval = f"{probability(row['low'])} – {probability(row['high'])} ({kind})"
    at = f"{human(row['x'], results['kind'])}: " if results["kind"] != "name" else ""
    confidence, trust = f"{100 * results['confidence']:g} %", str(row["trust"]).replace("_", " ")
    return f"{at}{probability(row['p'])}, {confidence} interval {interval}; {counted}; {trust}"


def save_png(figure: Figure, path: Path) -> None:
    """The figure as a picture, for a README."""
    with mpl.rc_context(_STYLE):
        figure.savefig(path, dpi=160)


def _single(size: tuple[float, float]) -> tuple[Figure, Axes]:
    """A figure with one plot. Not by pyplot, whose state is that of the whole process: a notebook's own plots go on."""
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots()


def study_plot(results: Mapping[str, Any], close: bool = False) -> Figure:
    """P(broken round), or of a disagreement, against the swept value: closed form, sim, vkernel, break points. Of a
    study of losses: losses_plot.

    close: only what lies around the break points, see close_range.
    """
    if results["measure"] == "losses":
        return losses_plot(results)
    if has_map(results) and not close:
        return heat_plot(results)
    with mpl.rc_context(_STYLE):
        figure, axes = _single((7.6, 4.9))
        shown = _cut(results, close_range(results)) if close else results
        if _one_value(results):
            _draw_beside_each_other(axes, results)
            return figure
        floor = _floor(shown)
        for index, variant in enumerate(shown["variants"]):
            _draw_variant(axes, shown, variant, index, floor)
        _scale(axes, shown, floor)
        if close:
            axes.set_xlim(close_range(results))
        axes.set_ylabel(_quantity(results))
        axes.set_xlabel(parameter_label(results["parameters"]))
        _legend(figure, axes, [variant["name"] for variant in results["variants"]])
    return figure


def study_label(results: Mapping[str, Any]) -> str:
    """What study_plot shows, in a sentence; the figures stand in tables below it."""
    if results["measure"] == "losses":
        return "Between which values each variant comes to lose what"
    over = " and ".join(filter(None, map(parameter_label, (results["parameters"], results["across"]))))
    names = ", ".join(dict.fromkeys(variant["of"] or variant["name"] for variant in results["variants"]))
    return f"{_quantity(results)} over {over}: {names}"


def _one_value(results: Mapping[str, Any]) -> bool:
    return len({row["x"] for row in _rows(results)}) == 1


def _draw_beside_each_other(axes: Axes, results: Mapping[str, Any]) -> None:
    """Nothing is swept: the variants stand side by side."""
    names = [variant["name"] for variant in results["variants"]]
    for index, variant in enumerate(results["variants"]):
        row = variant["sim"][0]
        colour = COLOURS[index % len(COLOURS)]
        axes.bar([index], [row["p"]], width=0.5, color=colour, alpha=0.35)
        spread = [[row["p"] - row["low"]], [row["high"] - row["p"]]]
        axes.errorbar([index], [row["p"]], yerr=spread, fmt=_MARKERS[index % 6], color=colour, capsize=4)
        counted = (row["broken"], row["rounds"], "rounds")
        if results["measure"] != "broken_round":
            counted = (row["disagreements"], row["instances"], "instances")
        _tell(axes, index, row["p"], f"{variant['name']}, sim, {point_words(results, row)}", 24)
        axes.annotate(
            f"{counted[0]} of {counted[1]} {counted[2]}",
            (index, row["high"]),
            textcoords="offset points",
            xytext=(0, 6),
            ha="center",
            fontsize=10,
        )
    crowded = sum(map(len, names)) > _MOST_LETTERS
    axes.set_xticks(range(len(names)), names, rotation=35 if crowded else 0, ha="right" if crowded else "center")
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_ylim(0, 1.15 * max(row["high"] for row in _rows(results)))
    axes.set_ylabel(_quantity(results))
    axes.grid(visible=False, axis="x")


def _quantity(results: Mapping[str, Any]) -> str:
    return "P(broken round)" if results["measure"] == "broken_round" else "P(instance disagrees)"


def close_range(results: Mapping[str, Any]) -> tuple[float, float] | None:
    """What lies around all break points, with the vkernel points in it; None when there is nothing to look at."""
    found = [variant.get("break_point") for variant in results["variants"]]
    ends = [end for item in found if item and item["status"] == "bracketed" for end in (item["lo"], item["hi"])]
    if not ends:
        return None
    ends += [row["x"] for variant in results["variants"] for row in variant.get("vkernel", ())]
    return min(ends) / 1.06, max(ends) * 1.06


def _cut(results: Mapping[str, Any], limits: tuple[float, float] | None) -> dict[str, Any]:
    assert limits is not None
    low, high = limits
    variants = [
        {
            **variant,
            **{
                name: [row for row in variant.get(name, ()) if low <= row["x"] <= high]
                for name in ("sim", "vkernel", "closed_form")
            },
        }
        for variant in results["variants"]
    ]
    return {**results, "variants": variants}


def _legend(figure: Figure, axes: Axes, names: Sequence[str]) -> None:
    """A column a variant where they fit, each filled up so that columns do not run into each other."""
    handles, labels = axes.get_legend_handles_labels()
    groups = [
        [(handle, label) for handle, label in zip(handles, labels, strict=True) if label.startswith(f"{name}: ")]
        for name in names
    ]
    if not handles:
        return
    if len(names) > 3:
        figure.legend(handles, labels, loc="outside upper left", ncols=3, fontsize=9)
        return
    longest = max(map(len, groups))
    filled = [[*group, *[(Line2D([], [], linestyle="none"), "")] * (longest - len(group))] for group in groups]
    pairs = [pair for group in filled for pair in group]
    figure.legend(
        [handle for handle, _ in pairs],
        [label for _, label in pairs],
        loc="outside upper left",
        ncols=len(names),
        fontsize=9.5,
    )


def parameter_label(parameters: Sequence[str]) -> str:
    """``links.default.jitter`` -> jitter of links default."""
    links = dict.fromkeys(".".join(path.split(".")[1:-1]) for path in parameters if path.startswith("links."))
    where = ", ".join(links)
    return parameter_name(parameters) + (f" of links {where}" if where else "")


def _rows(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [row for variant in results["variants"] for row in (*variant["sim"], *variant.get("vkernel", ()))]


def has_arrows(results: Mapping[str, Any]) -> bool:
    """Whether there are points at which nothing was seen on an axis that does not reach down to nothing."""
    return _floor(results) is not None and any(row["p"] == 0 and row["rounds"] for row in _rows(results))


def _floor(results: Mapping[str, Any]) -> float | None:
    """The bottom of a logarithmic axis, or None when a linear one shows it better."""
    seen = [row["p"] for row in _rows(results) if row["p"] > 0]
    if not seen or max(seen) / min(seen) < 10**_DECADES_FOR_LOG:
        return None
    return float(10.0 ** math.floor(math.log10(min(seen)) - 0.3))


def _draw_variant(
    axes: Axes, results: Mapping[str, Any], variant: Mapping[str, Any], index: int, floor: float | None
) -> None:
    colour = COLOURS[index % len(COLOURS)]
    name = variant["name"]
    shift = 5.0 * (index - (len(results["variants"]) - 1) / 2)
    curve = [point for point in variant.get("closed_form", ()) if floor is None or point["p"] >= floor / 3]
    if curve:
        axes.plot(
            [point["x"] for point in curve],
            [point["p"] for point in curve],
            color=colour,
            linewidth=1.5,
            alpha=0.85,
            linestyle=("-", "--", "-.", ":")[index % 4],
            label=f"{name}: closed form",
            zorder=2,
        )
    _draw_points(
        axes, results, variant["sim"], floor, colour, _MARKERS[index % len(_MARKERS)], f"{name}: sim", False, shift
    )
    if variant.get("vkernel"):
        _draw_points(axes, results, variant["vkernel"], floor, colour, "s", f"{name}: vkernel", True, shift)
    found = variant.get("break_point")
    if found and found["status"] == "bracketed":
        label = f"{name}: break point {human(found['estimate'], results['kind'], 3)}"
        axes.axvspan(found["lo"], found["hi"], color=colour, alpha=0.16, linewidth=0, zorder=0, label=label)
        axes.axhline(found["probability"], color="#444B55", linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
        _draw_estimate(axes, found, index, colour)


def _draw_estimate(axes: Axes, found: Mapping[str, Any], index: int, colour: str) -> None:
    """The estimate and its interval, at the foot of the plot; variants one above the other."""
    if found["low"] is None:
        return
    foot = axes.get_xaxis_transform()
    height = 0.03 + 0.035 * index
    axes.plot([found["low"], found["high"]], [height, height], transform=foot, color=colour, linewidth=2.5, zorder=6)
    axes.plot([found["estimate"]], [height], transform=foot, color=colour, marker="|", markersize=9, mew=2, zorder=6)


def _draw_points(
    axes: Axes,
    results: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    floor: float | None,
    colour: str,
    marker: str,
    label: str,
    filled: bool,
    shift: float,
) -> None:
    """shift: sideways, in points, so that variants that coincide can be told apart."""
    moved = axes.transData + ScaledTranslation(shift / 72, 0, axes.figure.dpi_scale_trans)
    seen = [row for row in rows if floor is None or row["p"] > 0]
    if seen:
        axes.errorbar(
            [row["x"] for row in seen],
            [row["p"] for row in seen],
            yerr=[[row["p"] - row["low"] for row in seen], [row["high"] - row["p"] for row in seen]],
            fmt=marker,
            transform=moved,
            color=colour,
            markerfacecolor=colour if filled else "white",
            markeredgecolor=colour,
            markersize=7 if filled else 5,
            elinewidth=1.1,
            capsize=3.0 if filled else 2.0,
            label=label,
            zorder=5 if filled else 4,
        )
    for row in seen:
        _tell(axes, row["x"], row["p"], f"{label}, {point_words(results, row)}", moved=moved)
    empty = [row for row in rows if floor is not None and row["p"] == 0 and row["rounds"]]
    if empty and floor is not None:  # nothing broke: an arrow hangs from the upper limit
        highs = [max(row["high"], 1.5 * floor) for row in empty]
        axes.errorbar(
            [row["x"] for row in empty],
            highs,
            yerr=[high * 0.35 for high in highs],
            uplims=True,
            fmt="none",
            transform=moved,
            ecolor=colour,
            elinewidth=0.9,
            alpha=0.7,
            label=None if seen else f"{label} (upper limit)",
            zorder=3,
        )


def _scale(axes: Axes, results: Mapping[str, Any], floor: float | None) -> None:
    kind = results["kind"]
    if floor is not None:
        axes.set_yscale("log")
        axes.set_ylim(bottom=floor, top=min(1.5, 2.5 * max(row["high"] for row in _rows(results))))
    else:
        axes.set_ylim(0, 1.08 * max([row["high"] for row in _rows(results)], default=1.0))
    if results.get("scale") == "log":
        axes.set_xscale("log")
    xs = sorted({row["x"] for row in _rows(results)})
    if len(xs) > 1 and results.get("scale") != "log":
        axes.set_xlim(xs[0] - 0.04 * (xs[-1] - xs[0]), xs[-1] + 0.04 * (xs[-1] - xs[0]))
    if kind == "number" and len(xs) <= 12 and all(x == int(x) for x in xs):
        axes.set_xticks(xs)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: human(x, kind)))
    if results.get("scale") == "log":
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))


def swaps_plot(results: Mapping[str, Any]) -> Figure:
    """What became of the swaps: shares of committed, aborted, split, blocked over the swept value, a row a variant."""
    outcomes = ("committed", "aborted", "split", "blocked")
    hatches = ("", "//", "xx", "..")
    colours = ("#9AD0BC", "#D9B8D4", "#D55E00", "#E8C06A")
    with mpl.rc_context(_STYLE):
        variants = results["variants"]
        figure = Figure(figsize=(7.6, 1.2 + 1.7 * len(variants)), layout="constrained")
        grid = figure.subplots(len(variants), 1, squeeze=False, sharex=True)
        for axes, variant in zip(grid[:, 0], variants, strict=True):
            rows = variant["sim"]
            totals = [max(1, sum(row["swaps"].get(name, 0) for name in outcomes)) for row in rows]
            shares = [
                [row["swaps"].get(name, 0) / total for row, total in zip(rows, totals, strict=True)]
                for name in outcomes
            ]
            layers = axes.stackplot([row["x"] for row in rows], shares, labels=outcomes, colors=colours)
            for layer, hatch in zip(layers, hatches, strict=True):
                layer.set_hatch(hatch)
                layer.set_edgecolor("#FFFFFF")
                layer.set_linewidth(0.0)
            axes.set_ylim(0, 1)
            axes.margins(x=0)
            axes.set_title(variant["name"], fontsize=10.5, loc="left")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:.0f} %"))
        last = grid[-1, 0]
        last.xaxis.set_major_formatter(FuncFormatter(lambda x, _: human(x, results["kind"])))
        last.set_xlabel(parameter_label(results["parameters"]))
        if results.get("scale") == "log":
            last.set_xscale("log")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=4, fontsize=9.5)
    return figure


def consensus_plot(results: Mapping[str, Any]) -> Figure:
    """What became of consensus: the shares of instances that did not decide everywhere, and of those that disagree."""
    with mpl.rc_context(_STYLE):
        figure, axes = _single((7.6, 3.9))
        for index, variant in enumerate(results["variants"]):
            rows = [row for row in variant["sim"] if row["instances"]]
            if not rows:
                continue
            colour, marker = COLOURS[index % len(COLOURS)], _MARKERS[index % len(_MARKERS)]
            xs = [row["x"] for row in rows]
            undecided = [1 - row["decided"] / row["instances"] for row in rows]
            disagree = [row["disagreements"] / row["instances"] for row in rows]
            name = variant["name"]
            axes.plot(xs, undecided, color=colour, marker=marker, markersize=5, mfc="white", label=f"{name}: undecided")
            axes.plot(
                xs, disagree, color=colour, marker=marker, markersize=6, linestyle="--", label=f"{name}: disagree"
            )
        axes.set_ylabel("share of instances")
        axes.set_ylim(bottom=0)
        axes.set_xlabel(parameter_label(results["parameters"]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: human(x, results["kind"])))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:.3g} %"))
        if results.get("scale") == "log":
            axes.set_xscale("log")
        _legend(figure, axes, [variant["name"] for variant in results["variants"]])
    return figure


_LOSS_MARKS = {"deadline": ("o", COLOURS[0]), "availability": ("^", COLOURS[4]), "agreement": ("X", COLOURS[1])}


def has_map(results: Mapping[str, Any]) -> bool:
    """Whether two parameters were swept and a probability was counted at each pair of values."""
    return bool(results["across"]) and results["measure"] != "losses"


def heat_plot(results: Mapping[str, Any]) -> Figure:
    """P over two parameters, a map a variant, with each probability and its interval written in its cell, and where a
    break point was searched for along the first, a line through its estimates. The colours' lightness alone tells."""
    drawn = maps(results)
    columns, rows = len(drawn[0].columns), len(drawn[0].rows)
    seen = [cell.p for item in drawn for row in item.cells for cell in row if cell and cell.p > 0]
    log = bool(seen) and max(seen) / min(seen) > 10**_DECADES_FOR_LOG
    norm = LogNorm(min(seen), max(seen)) if log else Normalize(0, max(seen, default=1.0))
    with mpl.rc_context({**_STYLE, "axes.grid": False}):
        size = (max(7.6, 1.9 + 0.95 * columns), 0.9 + len(drawn) * (0.75 + 0.6 * rows))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(drawn), 1, squeeze=False, sharex=True)
        for axes, item in zip(grid[:, 0], drawn, strict=True):
            _draw_map(axes, item, norm)
            axes.set_ylabel(parameter_label(results["across"]))
            if len(drawn) > 1:
                axes.set_title(item.name, fontsize=10.5, loc="left")
        grid[-1, 0].set_xlabel(parameter_label(results["parameters"]))
        bar = figure.colorbar(ScalarMappable(norm, _MAP), ax=grid[:, 0].tolist(), label=_quantity(results), pad=0.02)
        bar.outline.set_visible(False)
    if bar.solids is not None:
        bar.solids.set_edgecolor("face")
    return figure


def _draw_map(axes: Axes, item: Map, norm: Normalize) -> None:
    columns = len(item.columns)
    for y, row in enumerate(item.cells):
        for x, cell in enumerate(row):
            if cell is None:
                continue
            shade = _MAP(norm(cell.p)) if cell.p > 0 else _NOTHING_SEEN
            box = Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=shade, edgecolor="#FEFEFE", linewidth=1.5)
            axes.add_patch(box)
            if cell.p == 0:  # not the lowest colour: it is not known to be 0
                axes.add_patch(
                    Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor="none", edgecolor=_HATCH, linewidth=0, hatch="//")
                )
            if columns <= _MOST_WRITTEN:
                light = 0.299 * shade[0] + 0.587 * shade[1] + 0.114 * shade[2] > 0.5
                colour = "#0B0B0B" if light else "#FEFEFE"  # of the cell, not of the page: see canvas.PALETTE
                axes.text(x, y + 0.27, cell.share, color=colour, ha="center", va="center", fontsize=9.5)
                axes.text(x, y - 0.29, cell.interval, color=colour, ha="center", va="center", fontsize=7)
            _tell(axes, x, y, cell.title, 30)
    for mark in item.breaks:
        for colour, wider in (("#FEFEFE", 2.5), (_BREAK, 0.0)):
            axes.plot([mark.low, mark.high], [mark.row, mark.row], color=colour, linewidth=2 + wider, zorder=5)
            axes.plot([mark.at], [mark.row], color=colour, marker="D", markersize=6 + wider, zorder=6)
    for run in item.contours:
        for colour, wider in (("#FEFEFE", 2.0), (_BREAK, 0.0)):
            axes.plot([one.at for one in run], [one.row for one in run], color=colour, linewidth=1.6 + wider, zorder=4)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(-0.5, len(item.rows) - 0.5)
    axes.set_xticks(range(columns), item.columns, rotation=45 if max(map(len, item.columns)) > 8 else 0)
    axes.set_yticks(range(len(item.rows)), item.rows)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def losses_plot(results: Mapping[str, Any]) -> Figure:
    """Who loses what where: a row a variant, without and with crashes; a mark where a loss is certain to be there, and
    a line down to where it was certain not to be there yet."""
    variants = results["variants"]
    conditions = [item["crashes"] for item in variants[0]["lost"]]
    kind, xs = results["kind"], sorted({row["x"] for row in _rows(results)})
    with mpl.rc_context(_STYLE):
        size = (4.6 * len(conditions) + 2.2, 1.6 + 0.52 * len(variants))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(1, len(conditions), squeeze=False, sharey=True)
        for column, (axes, crashes) in enumerate(zip(grid[0], conditions, strict=True)):
            for row, variant in enumerate(variants):
                where = variant["lost"][column]["where"]
                for place, (loss, (marker, colour)) in enumerate(_LOSS_MARKS.items()):
                    _draw_loss(axes, where[loss], row + 0.24 * (place - 1), marker, colour, xs[0])
            axes.set_title(condition(results, crashes), fontsize=10.5, loc="left")
            axes.set_xscale("log" if results.get("scale") == "log" or (xs[0] and xs[-1] / xs[0] > 20) else "linear")
            axes.set_xticks(xs, [human(x, kind) for x in xs], rotation=45, ha="right")
            axes.minorticks_off()
            axes.set_xlim(*_margins(xs, axes.get_xscale() == "log"))
            axes.set_xlabel(parameter_label(results["parameters"]))
        first = grid[0, 0]
        first.set_yticks(range(len(variants)), [variant["name"] for variant in variants])
        first.set_ylim(len(variants) - 0.5, -0.5)
        handles = [
            Line2D([], [], marker=marker, color=colour, linewidth=2, label=f"{loss} lost")
            for loss, (marker, colour) in _LOSS_MARKS.items()
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=3, fontsize=9.5)
    return figure


def _draw_loss(axes: Axes, lost: Mapping[str, Any], y: float, marker: str, colour: str, least: float) -> None:
    if lost["at"] is None:
        return
    before = lost["before"] if lost["before"] is not None else least
    axes.plot([before, lost["at"]], [y, y], color=colour, linewidth=2, alpha=0.55, solid_capstyle="butt")
    axes.plot([lost["at"]], [y], color=colour, marker=marker, markersize=7)


def _margins(xs: Sequence[float], log: bool) -> tuple[float, float]:
    if log:
        return xs[0] / 1.25, xs[-1] * 1.25
    room = 0.05 * (xs[-1] - xs[0] or 1.0)
    return xs[0] - room, xs[-1] + room


def condition(results: Mapping[str, Any], crashes: bool) -> str:
    """``no crash``, ``1 NIC goes down``, ``2 members and 1 NIC crash``."""
    if not crashes:
        return "no crash"
    told = [
        f"{results['crashes'][what]} {one if results['crashes'][what] == 1 else one + 's'}"
        for what, one in (("nodes", "member"), ("nics", "NIC"))
        if results["crashes"].get(what)
    ]
    return f"{' and '.join(told)} crash{'es' if told[0].startswith('1 ') and len(told) == 1 else ''}"


def has_consensus(results: Mapping[str, Any]) -> bool:
    """Whether consensus_plot has something to show: instances at two points at least."""
    return any(sum(bool(row["instances"]) for row in variant["sim"]) > 1 for variant in results["variants"])


def has_shares(results: Mapping[str, Any]) -> bool:
    """Whether swaps_plot has something to show: at least two points a variant, and swaps at all."""
    return all(
        len(variant["sim"]) > 1 and any(row["swaps"] for row in variant["sim"]) for variant in results["variants"]
    )


def fit_plot(fitted: Fit) -> Figure:
    """Samples with their band, the table and what was drawn: the distribution functions, and the upper tails."""
    samples = fitted.curves["samples"]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(10.4, 4.6), layout="constrained")
        whole, tail = figure.subplots(1, 2)
        at = np.concatenate([samples.at[:1], samples.at])  # from 0 on
        up_to = np.concatenate([[0.0], samples.up_to])
        low, high = np.clip(up_to - fitted.band, 0, 1), np.clip(up_to + fitted.band, 0, 1)
        told = f"what was measured, {CONFIDENCE:.0%} sure"
        whole.fill_between(at / 1e3, low, high, step="post", color=COLOURS[0], alpha=0.18, linewidth=0, label=told)
        for (name, steps), colour, line in zip(
            fitted.curves.items(), COLOURS, ("-", "--", ":", "-.", "-"), strict=False
        ):
            x, left = steps.at / 1e3, 1 - np.concatenate([[0.0], steps.up_to[:-1]])
            whole.step(x, steps.up_to, where="post", color=colour, linestyle=line, linewidth=1.6, label=name)
            tail.step(x, left, where="pre", color=colour, linestyle=line, linewidth=1.6, label=name)
        tail.set_yscale("log")
        tail.set_ylim(0.5 / fitted.samples, 1.4)
        for axes, title in ((whole, "P(delay \u2264 x)"), (tail, "P(delay \u2265 x)")):
            axes.set_title(title, loc="left", fontsize=11)
            axes.set_xlabel("delay x in \u00b5s")
        whole.legend(fontsize=9.5)
    return figure
