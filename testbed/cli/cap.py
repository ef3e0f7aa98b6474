"""``testbed cap``: one scenario with a partition, run with each engine of consensus, and what each gives up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.actions.find import named_engine
from testbed.cli.common import SetOption, load_scenario
from testbed.cli.output import EXPECTATION_FAILED, JsonFlag, console, print_json, progress_bar, verb
from testbed.errors import UserError

if TYPE_CHECKING:
    from testbed.nodes.consensus.spec import EngineSpec
    from testbed.scenario.load import Scenario
    from testbed.verdicts.model import Consensus
    from testbed.verdicts.sides import Side, Sides

_OF_SWAPS = ("handshake", "depth", "horizon")


@verb
def cap(
    scenario: Annotated[
        str, typer.Argument(help="A scenario with a partition: a file, or one that ships.")
    ] = "partition-and-heal",
    consensus: Annotated[
        list[str] | None,
        typer.Option(help="An engine of consensus, or mine.py:Mine, one of your own; repeatable (default: all)."),
    ] = None,
    engine: Annotated[str, typer.Option("--engine", "-e", help="What to run it on.")] = "sim",
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed.")] = None,
    set_: SetOption = None,
    json: JsonFlag = False,
) -> None:
    """Run a scenario with a partition with each engine of consensus, and tell side by side what each gives up.

    What members propose in the first half of the partition counts as asked; as answered what they decide there before
    it ends. Exit code 1 when an engine disagrees that promises not to, whatever is late.
    """
    base = load_scenario(scenario, set_, seed)
    rows = [(name, *_judged(with_consensus(base, name), engine)) for name in consensus or _all_that_decide()]
    if json:
        print_json([_data(name, found, sides) for name, found, sides in rows])
    else:
        _show(rows)
    if any(found.disagreements and _spec(base, name).indulgent for name, found, _ in rows):
        raise typer.Exit(EXPECTATION_FAILED)


def _all_that_decide() -> list[str]:
    from testbed.nodes.registry import engine_specs

    return [spec.name for spec in engine_specs() if spec.decides]


def with_consensus(base: Scenario, name: str) -> Scenario:
    """The scenario with another engine: as many periods as before, as many crashes to bear as it can, its own settings
    as they are by themselves. Raises UserError."""
    from testbed.scenario import as_written, compile_plan, from_data

    spec, data = _spec(base, name), as_written(base)
    written = dict(data["protocol"])
    kept = {key: value for key, value in written.items() if key not in ("rounds", "instances", "consensus", "custom")}
    if name != written.get("consensus"):
        kept = {key: value for key, value in kept.items() if key != "parameters"}
    if not spec.made_of_swaps:
        kept = {key: value for key, value in kept.items() if key not in _OF_SWAPS}
    plan = compile_plan(base)
    kept["f"] = min(plan.protocol.f, spec.most_f(len(plan.members)))
    data["protocol"] = {"consensus": name, "rounds" if spec.made_of_swaps else "instances": base.protocol.count, **kept}
    data.pop("expect", None)
    return from_data(data, base.document.source, base.base_dir)


def _spec(base: Scenario, name: str) -> EngineSpec:
    """Of an engine that a user names. Raises UserError."""
    from testbed.nodes.registry import engine_spec
    from testbed.own_engines import Files, engine_called

    engine = engine_called(name, Files(base.base_dir))
    if engine is None or not engine_spec(engine).decides:
        raise UserError(f"--consensus {name}: there are {', '.join(_all_that_decide())}; mine.py:Mine is one of yours")
    return engine_spec(engine)


def _judged(scenario: Scenario, on: str) -> tuple[Consensus, Sides]:
    from testbed.scenario import compile_plan
    from testbed.verdicts.consensus import judge_consensus
    from testbed.verdicts.sides import judge_sides
    from testbed.verdicts.timeline import Timeline

    plan, runner = compile_plan(scenario), named_engine(on)
    if not any(fault.verb == "nic_deaf" for fault in plan.faults):
        raise UserError(f"{plan.name}: nobody is parted from anybody; name a scenario with a partition")
    runner.check(plan)
    with progress_bar() as bar:
        task = bar.add_task(str(plan.protocol.consensus), total=1.0, state="")
        history = runner.run(plan, None, lambda stage, share: bar.update(task, completed=share, state=stage))
    if not history.complete:
        raise UserError(f"{plan.name} with {plan.protocol.consensus} was cut short: {history.why}")
    found, sides = judge_consensus(plan, history, Timeline(plan, history)), judge_sides(plan, history)
    if sides is None or found is None:
        raise UserError(f"{plan.name}: it ends before anybody is parted or proposes; name a longer one")
    return found, sides


def _gives_up(found: Consensus, sides: Sides) -> str:
    """In words."""
    lost = [f"agreement ({len(found.disagreements)} times)"] if found.disagreements else []
    for side in sides.sides:
        if side.in_time < side.asked:
            share = "answers" if not side.in_time else f"{1 - side.in_time / side.asked:.0%} of the answers"
            lost.append(f"{share} at {','.join(side.hosts)}")
    return "; ".join(lost) or "nothing"


def _side_text(side: Side) -> str:
    from testbed.report.spacetime import nanoseconds

    if not side.asked:
        return "nobody asks"
    longest = "" if side.longest_ns is None else f", in {nanoseconds(side.longest_ns)} at most"
    later = f"; later {side.later}" if side.later else ""
    return f"{side.in_time} of {side.asked}{longest}{later}"


def _show(rows: list[tuple[str, Consensus, Sides]]) -> None:
    from rich.table import Table

    from testbed.report.spacetime import nanoseconds

    first = rows[0][2]
    screen = console()
    lasts = f"from {nanoseconds(first.since_ns)} to {nanoseconds(first.until_ns)}"
    screen.print(f"parted {lasts}: " + " | ".join(",".join(side.hosts) for side in first.sides), markup=False)
    table = Table(box=None, pad_edge=False, header_style="dim")
    answered = (f"answered at {','.join(one.hosts)}" for one in first.sides)
    for heading in ("consensus", "longest wait before", *answered, "gives up"):
        table.add_column(heading)
    for name, found, sides in rows:
        before = "-" if sides.before_ns is None else nanoseconds(sides.before_ns)
        table.add_row(name, before, *map(_side_text, sides.sides), _gives_up(found, sides))
    screen.print(table)


def _data(name: str, found: Consensus, sides: Sides) -> dict[str, Any]:
    from dataclasses import asdict

    return {"consensus": name, "disagreements": len(found.disagreements), "gives_up": _gives_up(found, sides)} | asdict(
        sides
    )
