"""Every trace beside this file: its commands, obeyed one after another, give the output that stands below them.

--rewrite-traces writes the output anew; the difference is to be read, line by line, before it is kept.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import TraceError, read_trace, run_trace, written

from testbed.nodes.registry import engine_names

HERE = Path(__file__).parent
TRACES = sorted(HERE.rglob("*.txt"))


@pytest.mark.parametrize("trace", TRACES, ids=lambda path: path.stem)
def test_the_trace_is_as_written(trace: Path, request: pytest.FixtureRequest) -> None:
    text = trace.read_text(encoding="utf-8")
    blocks = read_trace(text)
    now = written(blocks, run_trace(blocks))
    if request.config.getoption("--rewrite-traces"):
        trace.write_text(now, encoding="utf-8")
    else:
        assert now.splitlines() == text.splitlines(), f"{trace.name} differs; if meant: --rewrite-traces"


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("start\nstart\n", "line 2: write ---- below the command 'start'"),
        ("start\n----\n", "line 1: start: a trace begins with nodes"),
        ("nodes 2\n----\n\n# and then\njump\n----\n", "line 5: jump: there is no command 'jump'; there are crash"),
        ("nodes 2 begun\n----\n\ndrop n1->n0\n----\n", "line 4: drop n1->n0: nothing of the kind is under way"),
        ("nodes 2\n----\n\ncut n0->n7\n----\n", "line 4: cut n0->n7: 'n0->n7' is no way from node to node"),
    ],
)
def test_what_cannot_be_obeyed_is_refused_with_its_line(text: str, refusal: str) -> None:
    with pytest.raises(TraceError) as refused:
        run_trace(read_trace(text))
    assert str(refused.value).startswith(refusal)


def test_a_machine_that_does_something_else_is_noticed() -> None:
    """The runner itself: a horizon of another kind changes the output, and nothing but the output and that word."""
    text = (HERE / "link" / "hold.txt").read_text(encoding="utf-8")
    blocks = read_trace(text.replace("horizon=hold", "horizon=reconcile"))
    now = written(blocks, run_trace(blocks))
    assert "timer retry at" in now
    assert [line for line in now.splitlines() if line.startswith("#")] == [
        line for line in text.splitlines() if line.startswith("#")
    ]


def test_every_engine_has_a_trace() -> None:
    told = "\n".join(trace.read_text(encoding="utf-8") for trace in TRACES)
    assert [name for name in engine_names() if f" run {name}: " not in told] == []
