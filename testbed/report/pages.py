"""HTML reports: one self-contained file each, with nothing from outside; all of it can be read without its script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from testbed.faults import describe
from testbed.history import History
from testbed.nodes.registry import engine_spec
from testbed.plan import Plan
from testbed.report.canvas import PALETTE
from testbed.report.charts import by_name, over_rounds
from testbed.report.glossary import GLOSSARY, anchor
from testbed.report.maps import maps
from testbed.report.operations import drawn
from testbed.report.spacetime import instance_caption, instance_diagram, nanoseconds, swap_diagram
from testbed.report.steps import instance_steps, swap_steps
from testbed.report.struck import fabric_picture
from testbed.report.words import probability, setting, share
from testbed.study.document import human
from testbed.study.losses import LOSSES
from testbed.study.subject import in_words
from testbed.verdicts.model import Bisynchrony, Verdicts, answer, power_words
from testbed.verdicts.timeline import Timeline
from testbed.verdicts.words import nothing_done, promises

_SHOWN_BREAKS = 50
_MOST_LISTED = 20  # broken swaps; of more, charts are told first
_SHOWN_FAULTS = 60
_ALIKE = 3  # things of which the same is said, by name
_SWAP_TERMS = (
    *("round", "swap", "bisynchrony", "tentative", "reflecting", "committed", "aborted", "in doubt"),
    *("split", "blocked", "excluded"),
    *("window", "horizon", "depth", "hop"),
)
_STUDY_TERMS = {
    "broken_round": (
        "bisynchrony",
        "round",
        "swap",
        "split",
        "blocked",
        "break point",
        "interval",
        "closed form",
        "trusted",
    ),
    "disagreement": ("instance", "everywhere", "disagree", "interval", "trusted"),
    "losses": ("interval", "trusted"),
}
_RUN_TERMS = (
    *("instance", "everywhere", "connected", "disagree", "cut off"),
    *("fidelity", "trusted", "would have shown", "quantile"),
)
_DIAGRAMS = 3
_TOLD_QUANTILES = (0.01, 0.5, 0.99, 0.999)  # all are in verdicts.json


@cache
def environment() -> Environment:
    """Of all templates."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        ns=nanoseconds,
        power=power_words,
        human=human,
        setting=setting,
        probability=probability,
        share=share,
        drawn=drawn,
        promises=promises,
        anchor=anchor,
        figures=figures,
        whole=lambda text: text.replace(" ", "\u00a0"),
        count=lambda value: f"{value:,}".replace(",", "\u202f"),
        of=lambda number, what: f"{number} {what}" if number == 1 else f"{number} {what}{'e' * what.endswith('h')}s",
    )
    made.globals["colours"] = PALETTE
    return made


class Story(NamedTuple):
    """What a scenario says of its run. about: in a sentence. expected: what it states, in words. failed: a sentence for
    each statement that did not hold."""

    about: str = ""
    expected: str = ""
    failed: Sequence[str] = ()


class Origin(NamedTuple):
    """Where a page comes from. made: with what, and when, in words. files: of its directory, (name, what is in it)."""

    made: str = ""
    files: Sequence[tuple[str, str]] = ()


def run_page(
    plan: Plan,
    history: History,
    verdicts: Verdicts,
    commands: Sequence[str] = (),
    story: Story | None = None,
    origin: Origin | None = None,
) -> str:
    """The report of one run. commands: how it can be run again."""
    breaks = verdicts.bisynchrony.breaks
    pictures = [(item, swap_diagram(plan, history, item), swap_steps(plan, history, item)) for item in _telling(breaks)]
    disagreements = verdicts.consensus.disagreements if verdicts.consensus else ()
    instances = [
        (
            item,
            instance_diagram(plan, history, item),
            instance_caption(plan, history, item),
            instance_steps(plan, history, item),
        )
        for item in disagreements[:_DIAGRAMS]
    ]
    struck = Timeline(plan, history).struck
    charts = break_charts(verdicts.bisynchrony) if len(breaks) > _MOST_LISTED else ()
    engine = engine_spec(plan.protocol.consensus)
    origin = origin or Origin()
    return (
        environment()
        .get_template("run.html.j2")
        .render(
            plan=plan,
            protocol=plan.protocol,
            engine=engine,
            history=history,
            verdicts=verdicts,
            kinds=Counter(kind for _, kind in {(item.round, item.kind) for item in breaks}),
            causes=Counter(cause for _, cause in {(item.round, item.cause) for item in breaks}),
            breaks=breaks[: _SHOWN_BREAKS if charts else _MOST_LISTED],
            charts=charts,
            pictures=pictures,
            instances=instances,
            told=_TOLD_QUANTILES,
            fabric=fabric_picture(plan),
            faults=[
                (describe(plan.faults, index, plan.fabric), struck.get(index, ())) for index in range(len(plan.faults))
            ],
            shown_faults=_SHOWN_FAULTS,
            nothing=nothing_done(verdicts),
            commands=commands,
            story=story or Story(),
            made=origin.made,
            files=origin.files,
            glossary=GLOSSARY,
            terms=[*(_SWAP_TERMS if engine.made_of_swaps else ()), *_RUN_TERMS],
        )
    )


def break_charts(found: Bisynchrony) -> list[tuple[str, str]]:
    """Of many breaks when and where they were: (title, svg), the latter without a page too."""
    links = Counter(item.link for item in found.breaks)
    hops = Counter(item.hop or "no hop captured" for item in found.breaks)
    return [
        ("Broken rounds over time", over_rounds(found.broken_rounds, max(found.rounds, max(found.broken_rounds) + 1))),
        ("Broken swaps by link", by_name(links, "broken swaps")),
        ("Broken swaps by hop: the interface where the frame was lost or held up", by_name(hops, "broken swaps")),
    ]


def _telling(breaks: Sequence[Any]) -> list[Any]:
    """The first break of each kind and cause, up to a handful."""
    first: dict[tuple[str, str], Any] = {}
    for item in breaks:
        first.setdefault((item.kind, item.cause), item)
    return list(first.values())[:_DIAGRAMS]


def study_page(
    results: Mapping[str, Any],
    commands: Sequence[str] = (),
    pictures: Sequence[tuple[str, str]] = (),
    origin: Origin | None = None,
) -> str:
    """The report of a study. pictures: (caption, svg) of runs worth seeing."""
    from testbed.report import plots

    origin = origin or Origin()

    losses = results["measure"] == "losses"
    many = bool(results["across"])  # a curve of each would hide those of the others
    shares = (
        plots.svg_of(plots.swaps_plot(results), "Shares of outcomes of swaps")
        if not losses and not many and plots.has_shares(results)
        else ""
    )
    return (
        environment()
        .get_template("study.html.j2")
        .render(
            results=results,
            plot=plots.svg_of(plots.study_plot(results), plots.study_label(results)),
            close=plots.svg_of(plots.study_plot(results, close=True))
            if not many and plots.close_range(results)
            else "",
            consensus=(
                plots.svg_of(plots.consensus_plot(results), "Shares of instances undecided and disagreeing")
                if not losses and not many and plots.has_consensus(results)
                else ""
            ),
            shares=shares,
            arrows=not losses and plots.has_arrows(results),
            losses=loss_lines(results) if losses else (),
            figures=_FIGURES,
            condition=lambda crashes: plots.condition(results, crashes),
            banded=plots.close_range(results) is not None,
            distrusted=distrusted(results),
            unchecked=not_checked(results),
            judged_in_full=judged_in_full(results),
            trusts=trusts(results),
            studied=in_words(results["studied"]),
            commands=commands,
            pictures=pictures,
            made=origin.made,
            files=origin.files,
            glossary=GLOSSARY,
            terms=_STUDY_TERMS[results["measure"]],
            label=plots.parameter_label(results["parameters"]),
            across=plots.parameter_label(results["across"]),
            maps=maps(results) if plots.has_map(results) else (),
            brackets={
                variant["name"]: bracket(variant.get("break_point"), results["kind"]) for variant in results["variants"]
            },
            estimates={
                variant["name"]: estimate(variant.get("break_point"), results["kind"])
                for variant in results["variants"]
            },
            vkernel_brackets={
                variant["name"]: bracket(variant.get("vkernel_break_point"), results["kind"])
                for variant in results["variants"]
            },
            curves={
                variant["name"]: {point["x"]: point["p"] for point in variant.get("closed_form", ())}
                for variant in results["variants"]
            },
        )
    )


class LossLine(NamedTuple):
    """What one variant loses under one condition, in words. where: of each kind, ``between 1 ms and 2 ms``. first: what
    comes first. base: its row at the lowest value of the sweep."""

    variant: str
    crashes: bool
    first: str
    where: Mapping[str, str]
    base: Mapping[str, Any]


def loss_lines(results: Mapping[str, Any]) -> list[LossLine]:
    """A line for each variant and condition of a study of losses."""
    return [
        LossLine(
            variant["name"],
            lost["crashes"],
            " and ".join(lost["first"]) or "nothing",
            {kind: _where(lost["where"][kind], kind, rows, results) for kind in LOSSES},
            rows[0],
        )
        for variant in results["variants"]
        for lost in variant["lost"]
        for rows in [[row for row in variant["sim"] if row["crashes"] == lost["crashes"]]]
    ]


def _where(found: Mapping[str, Any], kind: str, rows: Sequence[Mapping[str, Any]], results: Mapping[str, Any]) -> str:
    if found["at"] is not None and found["before"] is not None:
        return f"between {human(found['before'], results['kind'])} and {human(found['at'], results['kind'])}"
    if found["at"] is not None:
        at = human(found["at"], results["kind"])
        return f"from {at} on" if found["at"] == rows[0]["x"] else f"by {at}"
    suffered, runs = (sum(row["losses"][kind]["suffered"] for row in rows), sum(row["runs"] for row in rows))
    return "kept" if not suffered else f"in {suffered} of {runs} runs"


class Figure(NamedTuple):
    """What the median run of a row has, in words, with its interval."""

    name: str
    value: str
    interval: str


_FIGURES = {
    "median": "median_ns",
    "99 %": "p99_ns",
    "longest outage": "outage_ns",
    "messages an answer": "messages",
    "attempts a decision": "attempts",
}

_TIMES = ("median_ns", "p99_ns", "outage_ns")


def figures(row: Mapping[str, Any]) -> list[Figure]:
    """Of a row of a study of losses, what losses.Typical has: three digits of each."""
    return [Figure(name, *_typical(row[key], "time" if key in _TIMES else "number")) for name, key in _FIGURES.items()]


def _typical(told: Mapping[str, float | None], kind: str) -> tuple[str, str]:
    value, low, high = (
        "" if told[name] is None else human(float(f"{told[name]:.3g}"), kind).replace(" ", "\u00a0")
        for name in ("value", "low", "high")
    )
    if value and not low:
        return value, "too few runs"
    if not low:
        return "–", ""
    if not high:
        return value or "–", f"from {low} on"
    number, _, unit = low.partition("\u00a0")
    alike = unit == high.partition("\u00a0")[2]
    return value, f"{number if alike else low} – {high}"


def distrusted(results: Mapping[str, Any]) -> list[str]:
    """Why parts of the study are not trusted, each once with the points that it is on; empty when none is."""
    found: dict[str, list[str]] = {}
    for variant, engine, row in _points(results):
        for reason in row["reasons"]:
            found.setdefault(reason, []).append(f"{variant} on {engine} at {human(row['x'], results['kind'])}")
    return [f"{_listed(places)}: {reason}" for reason, places in found.items()]


def not_checked(results: Mapping[str, Any]) -> list[str]:
    """What was not checked in the study, and why, each why once for all that it is said of."""
    found: dict[tuple[str, str, str], dict[str, None]] = {}
    for _, engine, row in _points(results):
        for told in row["unchecked"]:
            what, _, why = told.partition(": ")
            kind, _, whose = what.partition(" of ")
            found.setdefault((engine, kind, why), {}).update(dict.fromkeys(whose.split(", ") if whose else ()))
    return [
        f"{engine}: {kind}{f' of {_listed(list(whose))}' if whose else ''}{f': {why}' if why else ''}"
        for (engine, kind, why), whose in found.items()
    ]


def _points(results: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Each row with its variant's name and its engine."""
    for variant in results["variants"]:
        for engine in ("sim", "vkernel"):
            yield from ((variant["name"], engine, row) for row in variant.get(engine, ()))


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:_ALIKE])}{' and others' if len(names) > _ALIKE else ''}"


def trusts(results: Mapping[str, Any]) -> str:
    """Each engine, and whether its points are trusted, all together: ``sim: trusted; vkernel: not checked``."""
    told = []
    for engine in ("sim", "vkernel"):
        rows = [row for variant in results["variants"] for row in variant.get(engine, ())]
        if rows:
            reasons, unchecked = ([what for row in rows for what in row[name]] for name in ("reasons", "unchecked"))
            told.append(f"{engine}: {answer(reasons, unchecked).words}")
    return "; ".join(told)


def judged_in_full(results: Mapping[str, Any]) -> str:
    """Of how many runs delays and losses were judged: ``13 of 65 runs on sim, 7 of 7 on vkernel``."""
    told: list[str] = []
    for engine in ("sim", "vkernel"):
        rows = [row for variant in results["variants"] for row in variant.get(engine, ())]
        if rows:
            full, runs = (sum(row[name] for row in rows) for name in ("full", "runs"))
            told.append(f"{full} of {runs}{'' if told else ' runs'} on {engine}")
    return ", ".join(told)


def bracket(found: Mapping[str, Any] | None, kind: str) -> str:
    """Between what a break point certainly lies, in words; not where it is."""
    if not found:
        return "not asked for"
    p = f"{100 * found['probability']:.4g} %"
    if found["status"] == "bracketed":
        way = "" if found["rising"] else ", falling"
        return f"between {human(found['lo'], kind)} and {human(found['hi'], kind)}{way}"
    if found["status"] in ("always", "never"):
        return f"{'above' if found['status'] == 'always' else 'below'} {p} at every value of the sweep"
    return "no two values were certain to lie on different sides"


def estimate(found: Mapping[str, Any] | None, kind: str) -> str:
    """Where a break point is estimated to be, with its interval, in words."""
    if not found or found["estimate"] is None:
        return "–"
    text = human(found["estimate"], kind, 4)
    return (
        text if found["low"] is None else f"{text} ({human(found['low'], kind, 4)} – {human(found['high'], kind, 4)})"
    )
