"""Verdicts in words, a line each: what a terminal shows and what the golden verdicts hold.

Only what every engine must say alike of one plan: no engine's name, and nothing of how well it measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from testbed.verdicts.model import Bisynchrony, Consensus, Service, Verdicts

MOST_BREAKS = 8
MOST_LINKS = 6


def summary(verdicts: Verdicts) -> list[tuple[str, str]]:
    """(heading, what is to be said about it): rounds, swaps, and of broken ones their kinds and causes; consensus; what
    did not come about at all."""
    bisynchrony = verdicts.bisynchrony
    rows: list[tuple[str, str]] = []
    if bisynchrony.rounds:  # some engines are not made of swaps
        broken = len(bisynchrony.broken_rounds)
        rows += [("rounds", f"{bisynchrony.rounds}, {broken} broken"), ("swaps", counted(bisynchrony.swaps))]
    if bisynchrony.breaks:
        rows.append(("kinds", _rounds_by(bisynchrony, "kind")))
        if bisynchrony.links:
            rows.append(("links", _links(bisynchrony)))
        rows.append(("causes", _rounds_by(bisynchrony, "cause")))
    if verdicts.consensus is not None:
        rows.append(("consensus", _consensus(verdicts.consensus)))
    if nothing := nothing_done(verdicts):
        rows.append(("nothing", f"{'; '.join(nothing)}: what did not happen can't go wrong"))
    return rows


def nothing_done(verdicts: Verdicts) -> list[str]:
    """Where nothing came about that could have gone wrong: what did not. So that it does not read as success."""
    found, consensus, service = verdicts.bisynchrony, verdicts.consensus, verdicts.service
    told = []
    if consensus is not None and consensus.instances and not (consensus.decided or consensus.connected):
        done = "decided" if consensus.of == "instances" else "delivered"
        some = f"no instance was {done} everywhere" if consensus.rounds_to_decide else f"nothing was {done}"
        told.append(some)
    if found.rounds and not found.swaps.get("committed") and not found.breaks:  # a break is something that happened
        told.append("no swap committed")
    if not found.rounds and consensus is None:
        told.append("no round could be judged")
    if service is not None and not service.done:
        told.append("no client was answered")
    return told


def service_row(service: Service) -> tuple[str, str]:
    """What became of a service, in a line."""
    wrong = f"{len(service.violations)} violations; " if service.violations else ""
    done = f"{service.name}: {service.done} operations done, {service.open} open"
    return "service", f"{done}; {wrong}{', '.join(promises(service))}"


def breaks(bisynchrony: Bisynchrony) -> list[tuple[str, ...]]:
    """The first broken swaps: round, link, kind, cause, frame."""
    return [
        (str(item.round), item.link, item.kind, item.cause, item.frame) for item in bisynchrony.breaks[:MOST_BREAKS]
    ]


def counted(table: Mapping[str, Any]) -> str:
    """``split 3, blocked 1``."""
    spelled = {name: " and ".join(count) if isinstance(count, list) else count for name, count in table.items()}
    return ", ".join(f"{name} {count}" for name, count in spelled.items() if count != 0) or "none"


def demanded(expectation: Mapping[str, Any]) -> str:
    """``agreement holds, splits 0``: all that is stated, numbers that must be 0 as well."""
    return ", ".join(
        f"{name} {' and '.join(asked) if isinstance(asked, list) else asked}" for name, asked in expectation.items()
    )


def _links(bisynchrony: Bisynchrony) -> str:
    """On which links swaps that cells carry broke, those with most of them first."""
    broken = {item.link: item.swaps["split"] + item.swaps["blocked"] for item in bisynchrony.links}
    worst = sorted((link for link in broken if broken[link]), key=lambda link: -broken[link])
    listed = ", ".join(f"{link} {broken[link]}" for link in worst[:MOST_LINKS])
    more = f", and {len(worst) - MOST_LINKS} more" if len(worst) > MOST_LINKS else ""
    return f"{listed}{more} (swaps)" if worst else "none between live nodes"


def _rounds_by(bisynchrony: Bisynchrony, name: str) -> str:
    rounds = Counter(value for _, value in sorted({(item.round, getattr(item, name)) for item in bisynchrony.breaks}))
    return f"{counted(rounds)} (rounds)"


def _consensus(consensus: Consensus) -> str:
    cut = f"{len(consensus.cut_off)} cut off by the run's end, " if consensus.cut_off else ""
    done = "decided" if consensus.of == "instances" else "delivered"
    others = ""
    if consensus.connected not in (None, consensus.decided):
        others = f" ({consensus.connected} by all connected)"
    wrong = f"{len(consensus.disagreements)} disagree, {len(consensus.invalid)} invalid"
    if consensus.of != "instances":
        wrong += f", {len(consensus.repeated)} repeated, {len(consensus.disordered)} out of order"
    late = f" in time, {consensus.later} later" if consensus.later else ""
    return f"{consensus.decided} of {consensus.instances} {consensus.of} {done} everywhere{late}{others}, {cut}{wrong}"


def log_violations(consensus: Consensus) -> list[str]:
    """What contradicts a log's integrity and order, the first few of it."""
    found = [*consensus.repeated, *consensus.disordered]
    more = len(found) - MOST_BREAKS
    return [*found[:MOST_BREAKS], *([f"and {more} more"] if more > 0 else ())]


def promises(service: Service) -> list[str]:
    """What is known of what a service's clients saw, the promised first."""
    seen = [f"{'' if holds else 'not '}{what}" for what, holds in service.consistency.items()]
    return seen + [f"{name} {'holds' if holds else 'violated'}" for name, holds in service.properties.items()]


def in_words(verdicts: Verdicts) -> str:
    """What became of a run, as a page of text: the same one from every engine that ran its plan to the nanosecond."""
    rows = summary(verdicts)
    if verdicts.service is not None:
        rows.append(service_row(verdicts.service))
    rows.append(("fidelity", verdicts.fidelity.answer.words))
    lines = [f"{verdicts.name}, seed {verdicts.seed}", *(f"{heading:<10} {text}" for heading, text in rows)]
    if verdicts.bisynchrony.breaks:
        lines += ["", "broken swaps: round, link, kind, cause, frame"]
        lines += ["  " + "  ".join(row) for row in breaks(verdicts.bisynchrony)]
        more = len(verdicts.bisynchrony.breaks) - MOST_BREAKS
        lines += [f"  and {more} more"] if more > 0 else []
    if verdicts.consensus is not None and verdicts.consensus.disagreements:
        lines += ["", "disagreements: instance, who decided what"]
        for item in verdicts.consensus.disagreements[:MOST_BREAKS]:
            decided = ", ".join(f"{node} {' and '.join(values)}" for node, values in item.decisions.items())
            lines.append(f"  {item.instance}  {decided}")
        more = len(verdicts.consensus.disagreements) - MOST_BREAKS
        lines += [f"  and {more} more"] if more > 0 else []
    if verdicts.consensus is not None:
        lines += [f"  {sentence}" for sentence in log_violations(verdicts.consensus)]
    return "\n".join(lines) + "\n"
