"""What there is, a line each: scenarios and studies that ship with their stories, engines, faults, runs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import StrEnum
from pathlib import Path

from testbed import plugins
from testbed.shipped import shipped


class Kind(StrEnum):
    """What can be listed."""

    SCENARIOS = "scenarios"
    STUDIES = "studies"
    TOPOLOGIES = "topologies"
    FAULTS = "faults"
    ENGINES = "engines"
    CONSENSUS = "consensus"
    RUNS = "runs"

    @property
    def one(self) -> str:
        """What one of them is called."""
        return _ONE[self.value]


_ONE = {
    "scenarios": "scenario",
    "studies": "study",
    "topologies": "topology",
    "faults": "fault",
    "engines": "engine",
    "consensus": "consensus",
    "runs": "run",
}


def _documents(folder: str) -> list[tuple[str, str]]:
    from testbed.scenario.document import read_document, story

    files = sorted(shipped(folder).glob("*.yaml"))
    return [(file.stem, story(read_document(file.read_text(encoding="utf-8"), file.name))) for file in files]


def _topologies() -> list[tuple[str, str]]:
    from testbed.topologies.build import KINDS

    return [(kind.name, kind.description) for kind in KINDS.values()] + _brought(plugins.TOPOLOGIES, KINDS)


def _faults() -> list[tuple[str, str]]:
    from testbed.faults import VERBS

    return [(known.name, known.meaning) for known in VERBS.values()] + _brought(plugins.FAULTS, VERBS)


def _engines() -> list[tuple[str, str]]:
    from testbed.engines.registry import ENGINES

    return list(ENGINES.items())


def _consensus() -> list[tuple[str, str]]:
    from testbed.nodes.registry import engine_names, engine_specs

    return [(spec.name, spec.title) for spec in engine_specs()] + _brought(plugins.ENGINES, engine_names())


def _brought(group: str, shipped_names: Collection[str]) -> list[tuple[str, str]]:
    """What installed packages add, none of which is imported for that."""
    names = plugins.names(group, shipped_names)
    return [(name, f"brought by {plugins.brought_by(group, name)}") for name in names]


def _runs() -> list[tuple[str, str]]:
    from testbed.runs import told_runs

    return told_runs(Path("runs"))


ROWS: dict[Kind, Callable[[], list[tuple[str, str]]]] = {
    Kind.SCENARIOS: lambda: _documents("scenarios"),
    Kind.STUDIES: lambda: _documents("studies"),
    Kind.TOPOLOGIES: _topologies,
    Kind.FAULTS: _faults,
    Kind.ENGINES: _engines,
    Kind.CONSENSUS: _consensus,
    Kind.RUNS: _runs,
}
