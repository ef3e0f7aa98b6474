"""``testbed cap``: what each engine gives up in a partition."""

from __future__ import annotations

import json
from typing import Any

import pytest
from needs import ROOT
from typer.testing import CliRunner

from testbed.cli.cap import with_consensus
from testbed.cli.main import app
from testbed.engines.registry import engine_by_name
from testbed.nodes.core import Decide, Propose
from testbed.scenario import compile_plan, load
from testbed.verdicts.sides import judge_sides

SCENARIO = ROOT / "scenarios" / "partition-and-heal.yaml"
GREATER, SMALLER = ["host3", "host4", "host5"], ["host1", "host2"]


def call(*words: str) -> Any:
    return CliRunner().invoke(app, ["cap", *words])


def test_indulgent_engines_give_up_answers_on_the_smaller_side_and_floodset_agreement() -> None:
    names = ("oae", "floodset", "paxos", "multi_paxos")
    done = call("--json", *(word for name in names for word in ("--consensus", name)))
    assert done.exit_code == 0
    rows = {row["consensus"]: row for row in json.loads(done.stdout)}
    for name in names:
        row = rows[name]
        greater, smaller = row["sides"]
        assert (greater["hosts"], smaller["hosts"]) == (GREATER, SMALLER)
        assert greater["in_time"] == greater["asked"] > 0
        kept = name != "floodset"
        assert (row["disagreements"] == 0) == kept
        assert smaller["in_time"] == (0 if kept else smaller["asked"])
    assert rows["floodset"]["gives_up"].startswith("agreement")
    for name in ("paxos", "multi_paxos"):  # the leader is on the other side, and later everybody is answered
        greater, smaller = rows[name]["sides"]
        assert greater["longest_ns"] > 3 * rows[name]["before_ns"]
        assert smaller["later"] == smaller["asked"]


def named(what: object, name: str) -> object:
    """By what a question and its answer are known."""
    assert isinstance(what, Propose | Decide)
    return what.value if name == "raft" else what.instance


@pytest.mark.parametrize("name", ["oae", "raft"])
def test_what_is_counted_is_what_the_record_says(name: str) -> None:
    """An entry of a log is known by its value, which no other submission has; an instance by its number."""
    plan = compile_plan(with_consensus(load(SCENARIO), name))
    history = engine_by_name("sim").run(plan)
    sides = judge_sides(plan, history)
    assert sides is not None
    assert (sides.since_ns, sides.until_ns) == (8_000_000, 12_000_000)
    asked, told = list(history.events.of_kind(Propose)), list(history.events.of_kind(Decide))
    for side in sides.sides:
        questions = [
            (one.node, named(one.what, name))
            for one in asked
            if one.node in side.hosts and 8_000_000 <= one.t_ns < 10_000_000
        ]
        answers = {(one.node, named(one.what, name)) for one in told if one.t_ns < 12_000_000}
        assert (side.asked, side.in_time) == (len(questions), sum(question in answers for question in questions))
        assert side.asked


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--consensus", "none"], "--consensus none"),
        (["--consensus", "raxos"], "--consensus raxos"),
        (["last-message-lost"], "nobody is parted"),
        (["--engine", "mars"], "engine mars: there are sim"),
    ],
)
def test_bad_input_gets_one_line(words: list[str], said: str) -> None:
    done = call(*words)
    assert done.exit_code == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
