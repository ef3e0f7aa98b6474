"""Engines are found by their folders, and only the one that is asked for is loaded."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import testbed.nodes.consensus
from testbed.nodes.core.config import PLAIN_SWAPS, ProtocolConfig
from testbed.nodes.registry import engine_names, engine_spec, engine_specs

ROOT = Path(__file__).resolve().parents[2]


def test_a_folder_with_a_spec_is_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No list has to be told of it."""
    folder = tmp_path / "echo"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "spec.py").write_text(
        "from dataclasses import replace\n"
        "from testbed.nodes.consensus.none.spec import SPEC as SWAPS\n"
        "SPEC = replace(SWAPS, name='echo')\n"
    )
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "spec.cpython-312.pyc").write_text("")
    known = engine_names()
    monkeypatch.setattr(testbed.nodes.consensus, "__path__", [*testbed.nodes.consensus.__path__, str(tmp_path)])
    for cached in (engine_names, engine_spec):
        cached.cache_clear()
    try:
        assert set(engine_names()) - set(known) == {"echo"}
        assert engine_spec("echo").made_of_swaps
    finally:
        for cached in (engine_names, engine_spec):
            cached.cache_clear()
        sys.modules.pop("testbed.nodes.consensus.echo.spec", None)
        sys.modules.pop("testbed.nodes.consensus.echo", None)


def test_only_the_engine_that_is_asked_for_is_loaded() -> None:
    """Imports cost an agent of the guest more than anything else that it does before it runs."""
    code = (
        "import sys; from testbed.nodes.registry import engine_spec; engine_spec('paxos');"
        "print(*sorted(n for n in sys.modules if n.startswith('testbed.nodes.consensus.') and n.endswith('.spec')))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert found.split() == ["testbed.nodes.consensus.paxos.spec", "testbed.nodes.consensus.spec"]


def test_what_every_spec_must_keep() -> None:
    assert PLAIN_SWAPS in engine_names()
    for spec in engine_specs():
        assert spec.title
        assert spec.rule
        assert all(0 <= spec.most_f(n) <= n for n in range(1, 12))
        assert spec.rounds_per_instance(0) >= 1
        assert spec.parameters_of(ProtocolConfig(consensus=spec.name)) == spec.parameters()
        assert all(hasattr(spec.parameters(), item.name) for item in fields(spec.parameters)), "each with a default"


def test_the_time_to_settle_grows_with_the_delay_and_never_with_the_depth_of_a_swap_that_is_not_made() -> None:
    for spec in engine_specs():
        protocol = ProtocolConfig(consensus=spec.name, f=1)
        assert 0 < spec.settle_ns(protocol, 5, 1_000) < spec.settle_ns(protocol, 5, 1_000_000)
        if not spec.made_of_swaps:
            deep = ProtocolConfig(consensus=spec.name, f=1, depth=200)
            assert spec.settle_ns(deep, 5, 1_000_000) == spec.settle_ns(protocol, 5, 1_000_000)
