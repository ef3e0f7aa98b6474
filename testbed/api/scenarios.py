"""Scenarios: loaded, built of plain data, changed, explained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from testbed import scenario as inner
from testbed.actions.find import find_document
from testbed.actions.run import scenario_text
from testbed.api.fabrics import Fabric


class Scenario:
    """What is to be run: a fabric, what its links do, a protocol, faults, and what is expected.

    ``Scenario(name=..., topology=..., ...)`` takes the keys of a scenario's document as keywords. Times are texts with
    a unit (``"300us"``), rates too (``"10gbit"``); shares are numbers from 0 to 1. What makes no sense raises
    testbed.Error, with a line for each problem.

    >>> import testbed
    >>> scenario = testbed.Scenario(
    ...     name="mine",
    ...     topology={"kind": "pair"},
    ...     links={"default": {"delay": "5us", "jitter": "1us"}},
    ...     protocol={"depth": 2, "window": "60us", "rounds": 20},
    ... )
    >>> scenario
    <Scenario mine: pair, protocol none, 20 rounds, sim, seed 0>
    >>> scenario.with_(seed=8).with_({"protocol.window": "200us"}).to_dict()["protocol"]["window"]
    '200us'
    """

    def __init__(self, **document: Any) -> None:
        self._inner, self._file = inner.from_data(document), None

    _inner: inner.Scenario
    _file: Path | None

    @classmethod
    def _of(cls, read: inner.Scenario, file: Path | None = None) -> Scenario:
        made = cls.__new__(cls)
        made._inner, made._file = read, file
        return made

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], base_dir: str | Path = ".") -> Scenario:
        """A scenario of plain data, as YAML or JSON would give it. base_dir: from where the paths in it count.

        >>> import testbed
        >>> testbed.Scenario.from_dict({"name": "two", "topology": {"kind": "pair"}}).name
        'two'
        """
        return cls._of(inner.from_data(dict(document), base_dir=base_dir))

    @classmethod
    def from_yaml(cls, text: str, base_dir: str | Path = ".") -> Scenario:
        """A scenario of YAML text. base_dir: from where the paths in it count.

        >>> import testbed
        >>> testbed.Scenario.from_yaml("{name: two, topology: {kind: pair}, seed: 7}").seed
        7
        """
        return cls._of(inner.parse(text, base_dir=base_dir))

    @property
    def name(self) -> str:
        """What it is called."""
        return self._inner.name

    @property
    def description(self) -> str:
        """Its story, "" where it has none."""
        return self._inner.written.description

    @property
    def engine(self) -> str:
        """The engine that it asks for: sim, vkernel or live."""
        return self._inner.engine

    @property
    def seed(self) -> int:
        """What all chance in a run is drawn from."""
        return self._inner.written.seed

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed but probably not meant, a line each."""
        return self._inner.warnings

    @property
    def fabric(self) -> Fabric:
        """Its hosts, switches and links, with what they do."""
        return Fabric(inner.compile_plan(self._inner).fabric)

    def with_(self, changes: Mapping[str, Any] | None = None, /, **more: Any) -> Scenario:
        """The same scenario with some values replaced, by their dotted paths; those that are not there are added.

        A key with dots in it is quoted: ``'links."leaf*<->spine*".jitter'``; places in lists are numbers:
        ``faults.0.at``. Texts are read as a document's are. Raises testbed.Error where the result makes no sense.

        >>> import testbed
        >>> scenario = testbed.load("nic-crash-mid-swap")
        >>> scenario.with_({"links.default.jitter": "3us"}, seed=8).seed
        8
        """
        changed = self._inner
        for path, value in {**(changes or {}), **more}.items():
            changed = changed.with_override(path, value)
        return self._of(changed)

    def explain(self) -> str:
        """What it will do, in words: every value, also those that are not written."""
        return inner.explain(self._inner)

    def plan(self) -> dict[str, Any]:
        """What an engine is given, as plain data: the whole fabric, every fault in order, every seed. Times in ns."""
        return json.loads(inner.compile_plan(self._inner).to_json())  # type: ignore[no-any-return]

    def to_dict(self) -> dict[str, Any]:
        """The scenario as plain data, as it was written and changed; ``from_dict`` takes it back."""
        return inner.as_written(self._inner)

    def to_yaml(self) -> str:
        """The scenario as its document: the file as it is, or what was made of it."""
        return scenario_text(self._inner, self._file)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scenario) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # of plain data that is compared

    def __repr__(self) -> str:
        protocol = self._inner.protocol
        counted = f"{getattr(protocol, protocol.counted)} {protocol.counted}"
        where = f"{self.engine}, seed {self.seed}"
        return f"<Scenario {self.name}: {self._kind()}, protocol {protocol.consensus}, {counted}, {where}>"

    def _kind(self) -> str:
        topology = self.to_dict()["topology"]
        return str(topology.get("kind", "a class of its own") if isinstance(topology, Mapping) else topology)

    def _repr_html_(self) -> str:
        story = f"<p>{escape(self.description)}</p>" if self.description else ""
        told = f"<details><summary>every value</summary><pre>{escape(self.explain())}</pre></details>"
        return f"<h4>{escape(self.name)}</h4>{story}{self.fabric._repr_svg_()}{told}"


def load(name: str | Path) -> Scenario:
    """A scenario by its file, or by the name of one that ships (``testbed.catalogue("scenarios")``).

    Raises testbed.Error when there is none, or when it makes no sense: a line for each problem, with its place.

    >>> import testbed
    >>> testbed.load("nic-crash-mid-swap").name
    'nic-crash-mid-swap'
    """
    file = find_document(str(name), "scenarios")
    return Scenario._of(inner.load(file), file)


def scenario_of(given: Scenario | str | Path | Mapping[str, Any]) -> Scenario:
    """Whatever a user may name a scenario by."""
    if isinstance(given, Scenario):
        return given
    return Scenario.from_dict(given) if isinstance(given, Mapping) else load(given)
