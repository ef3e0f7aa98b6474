"""Plans and commands that several tests of containers share."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

from testbed.engines.live.containers.engine import NODE, ContainerEngine
from testbed.plan import Container, Plan
from testbed.scenario import compile_plan
from testbed.scenario.load import from_data

EIGHT = {"kind": "leaf_spine", "spines": 2, "leaves": 4, "hosts_per_leaf": 2}
LIMITS = Container(cpus=0.5, memory_bytes=128 << 20)


def plan_of(scenario: dict, container: Container | None = LIMITS) -> Plan:
    """A scenario's plan on containers, or on plain namespaces."""
    return replace(compile_plan(from_data({"name": "story", **scenario})), container=container)


def inside(engine: ContainerEngine, container: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in a running container, as its users do."""
    words = [*engine.command_line(), "exec", container, *command]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def nodes_of(engine: ContainerEngine, run: str) -> dict[str, str]:
    """A run's nodes and their containers' names."""
    found = engine.api.containers(filters={"label": [f"oae-testbed.run={run}"]})
    return {each["Labels"][NODE]: each["Names"][0].lstrip("/") for each in found}


def result(job: Path) -> dict:
    """What the supervisor wrote of a run."""
    return json.loads((job / "result.json").read_text(encoding="utf-8"))
