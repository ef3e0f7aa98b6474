"""What a run is worth: the verdicts on it, and what was expected of it."""

from __future__ import annotations

from html import escape
from typing import Any, NamedTuple

from testbed.api.show import badge, lines_html, table_html
from testbed.verdicts.model import Bisynchrony, Consensus, Fidelity, Service, Trust, Verdicts
from testbed.verdicts.words import breaks, demanded, in_words, service_row, summary


class Expectations(NamedTuple):
    """What a scenario states of its run. stated: the statements, by name. unmet: a sentence for each that did not hold.

    >>> import testbed
    >>> testbed.run("last-message-lost").expectations.held
    True
    """

    stated: dict[str, Any]
    unmet: tuple[str, ...]

    @property
    def held(self) -> bool | None:
        """Whether all of it held; None where nothing was stated."""
        return not self.unmet if self.stated else None


class Verdict:
    """All verdicts on one run. ``print(verdict)`` tells them in words; a notebook shows them.

    >>> import testbed
    >>> verdict = testbed.run("last-message-lost").verdict
    >>> verdict.trust
    'trusted'
    >>> verdict.bisynchrony.swaps["split"]
    1
    """

    def __init__(self, verdicts: Verdicts, expectations: Expectations | None = None) -> None:
        self._verdicts, self._expectations = verdicts, expectations or Expectations({}, ())

    @property
    def trust(self) -> str:
        """Whether the measurement itself can be believed: trusted, not_checked or not_trusted."""
        return self._verdicts.fidelity.answer.value

    @property
    def trusted(self) -> bool:
        """True when all of the measurement was checked and nothing was off."""
        return self._verdicts.fidelity.trusted

    @property
    def bisynchrony(self) -> Bisynchrony:
        """Rounds judged and broken, what became of swaps, and what broke each: ``rounds``, ``broken_rounds``,
        ``swaps``, ``breaks``, ``holds``."""
        return self._verdicts.bisynchrony

    @property
    def consensus(self) -> Consensus | None:
        """Agreement, validity and termination: ``instances``, ``decided``, ``disagreements``, ``invalid``,
        ``undecided``; None where nothing is proposed."""
        return self._verdicts.consensus

    @property
    def service(self) -> Service | None:
        """What clients saw: ``done``, ``open``, ``latency_ns``, ``violations``, ``consistency``; None without one."""
        return self._verdicts.service

    @property
    def fidelity(self) -> Fidelity:
        """Why it is trusted or not: ``reasons``, ``unchecked``, ``directions``, ``power``."""
        return self._verdicts.fidelity

    @property
    def notes(self) -> tuple[str, ...]:
        """What else is to be said, a sentence each."""
        return self._verdicts.notes

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data: what ``verdicts.json`` of a run directory holds."""
        return self._verdicts.to_dict()

    def __str__(self) -> str:
        return in_words(self._verdicts)

    def __repr__(self) -> str:
        told = "; ".join(f"{heading} {text}" for heading, text in self._rows())
        return f"<Verdict on {self._verdicts.name}: {told}>"

    def _rows(self) -> list[tuple[str, str]]:
        rows = summary(self._verdicts)
        if self._verdicts.service is not None:
            rows.append(service_row(self._verdicts.service))
        return [*rows, ("fidelity", self._verdicts.fidelity.answer.words)]

    def _repr_html_(self) -> str:
        verdicts, fidelity = self._verdicts, self._verdicts.fidelity
        trust = {Trust.TRUSTED: True, Trust.NOT_CHECKED: None, Trust.NOT_TRUSTED: False}[fidelity.answer]
        rows = [(heading, escape(text)) for heading, text in self._rows() if heading != "fidelity"]
        why = "".join(f"<br>{escape(text)}" for text in (*fidelity.reasons, *fidelity.unchecked))
        rows.append(("fidelity", badge(fidelity.answer.words, trust) + why))
        rows += [("note", escape(text)) for text in verdicts.notes]
        rows += self._expected()
        head = f"<h4>{escape(verdicts.name)} on {escape(verdicts.engine)}, seed {verdicts.seed}</h4>"
        return head + lines_html(rows) + self._broken()

    def _expected(self) -> list[tuple[str, str]]:
        stated, unmet = self._expectations
        if not stated:
            return []
        told = "".join(f"<br>{escape(sentence)}" for sentence in unmet)
        return [("expected", f"{escape(demanded(stated))} {badge('failed' if unmet else 'held', not unmet)}{told}")]

    def _broken(self) -> str:
        found = self._verdicts.bisynchrony
        rows = breaks(found)
        if not rows:
            return ""
        more = len(found.breaks) - len(rows)
        rest = f"<p>and {more:,} more</p>" if more > 0 else ""
        return table_html(("round", "link", "kind", "cause", "frame"), rows) + rest
