"""A run over several machines, from where it is started: divides the plan, starts the parts, gathers what they leave.

The clocks are compared over the control connections: each exchange bounds how far a machine's clock is ahead of ours,
and the bounds of many are met with those of all others, before the run and after it. What is left between the bounds
is how far stamps of different machines may be off from each other.
"""

from __future__ import annotations

import io
import json
import secrets
import subprocess
import tarfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from testbed.engines.base import EngineUnavailable, Progress
from testbed.engines.live.machines.part import Part, first_of, kept_together
from testbed.engines.live.machines.wire import listen, say
from testbed.engines.live.netlink.requests import Carrier
from testbed.errors import UserError
from testbed.plan import Plan
from testbed.topologies.partition import cut_links, partition

VXLAN_PORT = 4789
_EXCHANGES = 40
_LEAD_NS = 300_000_000  # for telling all machines when the run begins
_POLL_S = 0.2
_SPARE_S = 300.0
_PROVISION = "run playbooks/provision.yml for it, or set testbed_project= in the inventory"


@dataclass(frozen=True, slots=True)
class Address:
    """A machine: what it is called, the command that starts its end (testbed.engines.live.machines.remote), and its
    IPv4 address as the other machines reach it."""

    name: str
    command: tuple[str, ...]
    ip: str


class Ahead(NamedTuple):
    """Bounds of how far a clock is ahead of ours (ns)."""

    least_ns: int
    most_ns: int

    @property
    def ns(self) -> int:
        """The middle."""
        return (self.least_ns + self.most_ns) // 2


class Machine:
    """The control connection to one machine; a context manager."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._process = subprocess.Popen(
            address.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *exc: object) -> None:
        """Everything over there ends when it is told no more."""
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def say(self, do: str, **more: Any) -> None:
        """Orders; ``answer`` afterwards."""
        assert self._process.stdin is not None
        try:
            say(self._process.stdin, {"do": do, **more})
        except BrokenPipeError:
            self._gone()

    def answer(self) -> tuple[dict[str, Any], bytes]:
        """Of the last order. Raises EngineUnavailable when there is none."""
        assert self._process.stdout is not None
        try:
            heard = listen(self._process.stdout)
        except ValueError:
            heard = None
        if heard is None:
            self._gone()
            raise AssertionError
        if "unavailable" in heard[0]:
            what, why, advice = heard[0]["unavailable"]
            raise EngineUnavailable(f"machine {self.address.name}: {what}", why, advice)
        return heard

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """Orders, and waits for the answer."""
        self.say(do, **more)
        return self.answer()[0]

    def compare_clocks(self) -> Ahead:
        """Bounds that all of some exchanges agree about."""
        least, most = -(1 << 62), 1 << 62
        for _ in range(_EXCHANGES):
            asked_ns = time.time_ns()
            there_ns = int(self.ask("clock")["ns"])
            heard_ns = time.time_ns()
            least, most = max(least, there_ns - heard_ns), min(most, there_ns - asked_ns)
        return Ahead(min(least, most), max(least, most))

    def _gone(self) -> None:
        assert self._process.stderr is not None
        self._process.kill()
        code = self._process.wait()
        said = [line for line in self._process.stderr.read().decode(errors="replace").splitlines() if line.strip()]
        why = said[-1] if said else f"its end of the connection ended ({code})"
        if code == 255:
            advice = f"try: {' '.join(self.address.command[:-1])} true"
            raise EngineUnavailable(f"machine {self.address.name} can't be reached", why, advice)
        raise EngineUnavailable(f"machine {self.address.name}", why, f"If the testbed is not there yet, {_PROVISION}")


def run_over(machines: Sequence[Address], plan: Plan, job: Path, netem: str, progress: Progress | None) -> None:
    """Runs the plan and leaves its raw results in ``job``, as one machine's supervisor would. netem: what it is
    needed for, in words; empty: for nothing. Raises EngineUnavailable."""
    parts = divide(plan, machines)
    with ExitStack() as stack:
        connections = [stack.enter_context(Machine(address)) for address in machines]
        before = [machine.compare_clocks() for machine in connections]
        for machine, part in zip(connections, parts, strict=True):
            machine.say("start", plan=plan.to_json(), part=part.to_json(), netem=netem)
        answers = [machine.answer()[0] for machine in connections]
        ready = [int(answer["ready_ns"]) for answer in answers if answer]
        if len(ready) == len(connections):
            zero_ns = max(at - ahead.ns for at, ahead in zip(ready, before, strict=True)) + _LEAD_NS
            for machine, ahead in zip(connections, before, strict=True):
                machine.ask("zero", ns=zero_ns + ahead.ns)
            _await_end(connections, plan, zero_ns, progress)
        after = [machine.compare_clocks() for machine in connections]
        clocks = [_within(*pair) for pair in zip(before, after, strict=True)]
        folders = [_results(machine, job / f"machine-{number}") for number, machine in enumerate(connections)]
    _gather(job, plan, machines, parts, folders, clocks)


def divide(plan: Plan, machines: Sequence[Address]) -> list[Part]:
    """Each machine's part. Raises UserError when the fabric can't be divided over so many, or not at all."""
    if plan.container is not None:
        raise UserError(
            "hosts that are containers go with one machine: leave --inventory out, or add --set nodes=namespace"
        )
    try:
        where = partition(plan.fabric, len(machines), kept_together(plan))
    except ValueError as error:
        raise UserError(f"{error}; what faults tie together stays together (take fewer machines)") from None
    cuts = cut_links(plan.fabric, where)
    first = secrets.randbelow((1 << 24) - len(cuts))  # other runs over these machines have networks of their own
    parts = []
    for number, address in enumerate(machines):
        carriers = {}
        for network, index in enumerate(cuts, first):
            link = plan.fabric.links[index]
            ends = where[link.a.node], where[link.b.node]
            if number in ends:
                other = machines[ends[1] if ends[0] == number else ends[0]]
                carriers[index] = Carrier(network, address.ip, other.ip, VXLAN_PORT)
        faults = frozenset(index for index in range(len(plan.faults)) if _teller(plan, index, where) == number)
        parts.append(Part(frozenset(node for node, part in where.items() if part == number), faults, carriers))
    return parts


def _teller(plan: Plan, index: int, where: dict[str, int]) -> int:
    """The machine that records a fault: of the moment that starts it, of what it strikes, else the first."""
    fault = plan.faults[index]
    first = first_of(plan, fault)
    node = first.node if first.moment is not None else fault.target
    return where[node] if node else 0


def _within(before: Ahead, after: Ahead) -> tuple[int, int]:
    """How far ahead a clock was taken to be, and how far off that may have been at any time of the run."""
    least, most = min(before.least_ns, after.least_ns), max(before.most_ns, after.most_ns)
    return before.ns, max(most - before.ns, before.ns - least)


def _await_end(machines: Sequence[Machine], plan: Plan, zero_ns: int, progress: Progress | None) -> None:
    deadline = time.monotonic() + plan.duration_ns / 1e9 + _SPARE_S
    while not all(machine.ask("over")["over"] for machine in machines):
        if progress is not None:
            progress("running", min(1.0, max(0.0, (time.time_ns() - zero_ns) / plan.duration_ns)))
        if time.monotonic() > deadline:
            raise EngineUnavailable(
                "several machines", "the run was not over long after it should have been", "Try again"
            )
        time.sleep(_POLL_S)


def _results(machine: Machine, folder: Path) -> Path:
    machine.say("results")
    _, packed = machine.answer()
    folder.mkdir()
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        tar.extractall(folder, filter="data")
    return folder


# -- one run of many results -----------------------------------------------------------------------------------------


def _gather(
    job: Path,
    plan: Plan,
    machines: Sequence[Address],
    parts: Sequence[Part],
    folders: Sequence[Path],
    clocks: Sequence[tuple[int, int]],
) -> None:
    """As one supervisor would have left it (see testbed.engines.live.results)."""
    for address, folder in zip(machines, folders, strict=True):
        for name in ("failure.json", "failure.txt"):
            if (folder / name).exists():
                (folder / name).replace(job / name)
        if not (folder / "result.json").exists():
            said = (folder / "output.txt").read_text(encoding="utf-8", errors="replace")
            (job / "output.txt").write_text(f"machine {address.name}: {said}", encoding="utf-8")
            return
    results = [json.loads((folder / "result.json").read_text(encoding="utf-8")) for folder in folders]
    (job / "faults.txt").write_bytes(b"".join((folder / "faults.txt").read_bytes() for folder in folders))
    for folder in folders:
        for path in folder.glob("journal-*.txt"):
            path.replace(job / path.name)
    ours_ns = results[0]["meta"]["zero_ns"] - clocks[0][0]
    if plan.capture:
        _gather_captures(job, folders, [result["meta"]["zero_ns"] - ours_ns for result in results])
    whys = [
        f"{address.name}: {result['why']}" for address, result in zip(machines, results, strict=True) if result["why"]
    ]
    together = {
        "complete": all(result["complete"] for result in results),
        "why": "; ".join(whys),
        "struck": [node for result in results for node in result["struck"]],
        "meta": _gathered_meta([result["meta"] for result in results])
        | {
            "zero_ns": ours_ns,
            "machines": [
                {"name": address.name, "nodes": sorted(part.nodes), "clock_ahead_ns": ahead, "within_ns": within}
                for address, part, (ahead, within) in zip(machines, parts, clocks, strict=True)
            ],
            "carried_links": sorted({link for part in parts for link in part.carriers}),
            "clocks_apart_ns": sum(sorted(within for _, within in clocks)[-2:]),
        },
    }
    (job / "result.json").write_text(json.dumps(together, indent=1, sort_keys=True), encoding="utf-8")


def _gather_captures(job: Path, folders: Sequence[Path], ahead_ns: Sequence[int]) -> None:
    taps = []
    for number, (folder, ahead) in enumerate(zip(folders, ahead_ns, strict=True)):
        for item in json.loads((folder / "capture.json").read_text(encoding="utf-8")):
            taps.append(item | {"file": f"machine-{number}/{item['file']}", "ahead_ns": ahead})
    (job / "capture.json").write_text(json.dumps(taps, indent=1), encoding="utf-8")


def _gathered_meta(metas: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts of all machines together; of times the greatest."""
    gathered = dict(metas[0])
    for name in ("backlog_drops", "capture_drops", "agent_processes"):
        gathered[name] = sum(meta.get(name, 0) for meta in metas)
    gathered["limit_drops"] = {nic: drops for meta in metas for nic, drops in meta.get("limit_drops", {}).items()}
    gathered["fabric_up_s"] = max(meta.get("fabric_up_s", 0.0) for meta in metas)
    gathered["clock_step_ns"] = max((meta.get("clock_step_ns", 0) for meta in metas), key=abs)
    return gathered
