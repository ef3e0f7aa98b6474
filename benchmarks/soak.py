"""Random schedules with faults on every engine, by the hundred thousand: which of them breaks an invariant?

Each engine gets the least number of members, of three and more, that bears a crash. In a schedule as many nodes may
crash as it must bear (of a log that is on disks twice as many: that may stop it, but break nothing), and come up again,
finding on their disks all, part or nothing of what they kept; messages are lost, late, out of order and twice; an
engine that promises agreement only while no message is late (not indulgent) gets crashes alone. What was finished is
kept, a line for every few hundred schedules, and the same command goes on from there; what was done with other code
counts no more. A schedule that breaks something is shrunk and written beside the results.

What such a search can see is told by bugs that are known: with --pitfalls each of an engine's is planted in turn, and
schedules are drawn until one shows it.

    python benchmarks/soak.py [ENGINE ...] [--schedules 100000] [--minutes M] [--jobs N] [--out runs/soak] [--json]
    python benchmarks/soak.py --pitfalls [ENGINE ...] [--schedules 1000] [--json]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import islice, zip_longest
from pathlib import Path

from testbed import compiled

compiled.forgo()  # compiled machines can't be copied

from testbed.engines.live.syscalls import die_with_parent  # noqa: E402
from testbed.explore.random_walks import Walk, drawn, hunt  # noqa: E402
from testbed.explore.schedule import Asked, schedule_of, write_schedule  # noqa: E402
from testbed.explore.worlds import UNBOUNDED, Rules  # noqa: E402
from testbed.nodes.consensus.spec import EngineSpec  # noqa: E402
from testbed.nodes.core import Decide, Install  # noqa: E402
from testbed.nodes.core.disk import State  # noqa: E402
from testbed.nodes.registry import engine_spec, engine_specs  # noqa: E402
from testbed.study.fingerprint import covered_files  # noqa: E402
from testbed.study.statistics import clopper_pearson  # noqa: E402

SEED = 20
CHUNK = 250
"""Schedules in one piece of work: their worlds are forgotten with it, so that memory stays bounded."""

_STEPS_A_NODE = 40
"""How long a schedule may get where a log is kept, which has no end."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some schedules of an engine, from number ``first`` on. steps: of all of them; decided: in how many anything was
    decided. broken: what the last of them breaks."""

    engine: str
    first: int
    code: str
    schedules: int = 0
    steps: int = 0
    decided: int = 0
    broken: str = ""


def asked(spec: EngineSpec, pitfalls: tuple[str, ...] = ()) -> Asked:
    """What is searched, with one of its known bugs, if one is named. Raises StopIteration for an engine that bears no
    crash among nine."""
    n = next(n for n in range(3, 10) if spec.most_f(n) >= 1)
    f = spec.most_f(n)
    rules = Rules(crashes=f)
    if spec.indulgent:
        crashes = 2 * f if spec.keeps_a_log and not spec.recovers else f
        rules = Rules(crashes=crashes, restarts=crashes, drops=UNBOUNDED, copies=2, finds=tuple(State))
    return Asked(spec.name, n, f, pitfalls, rules=rules)


def most_steps(wanted: Asked) -> int:
    """How long a schedule may get."""
    model = wanted.model()
    return _STEPS_A_NODE * len(model.configs) if engine_spec(wanted.engine).keeps_a_log else 1000


def search(piece: Piece, folder: Path) -> Piece:
    """In a worker."""
    wanted = asked(engine_spec(piece.engine))
    worlds = wanted.worlds()
    decided = 0

    def ended(walk: Walk) -> None:
        nonlocal decided
        decided += any(isinstance(fact, Decide | Install) for told in walk.told for fact in told)

    found = hunt(worlds, CHUNK, SEED, most_steps(wanted), first=piece.first, ended=ended)
    if found.broken:
        schedule = schedule_of(wanted, worlds, found.shrunk, found.broken)
        path = folder / f"{piece.engine}-{piece.first}.schedule.yaml"
        path.write_text(write_schedule(schedule, str(path)), encoding="utf-8")
    return Piece(piece.engine, piece.first, piece.code, found.schedules, found.steps, decided, found.broken)


def seen(engine: str, pitfall: str, schedules: int) -> int | None:
    """In a worker: the first of so many schedules in which this planted bug shows."""
    wanted = asked(engine_spec(engine), (pitfall,))
    model, most = wanted.model(), most_steps(wanted)
    numbers = range(schedules)
    return next((number for number in numbers if drawn(model, wanted.rules, SEED, number, most).broken), None)


def code_soaked() -> str:
    """A hash of what a schedule depends on: the engines, the explorer, what is asked of it here, Python."""
    rooms = ("testbed/nodes/", "testbed/explore/")
    files = [path for name, path in sorted(covered_files("sim").items()) if name.startswith(rooms)]
    here = [SEED, CHUNK, _STEPS_A_NODE, *(asked(spec) for spec in engine_specs() if spec.decides)]
    digest = hashlib.blake2b(f"{sys.version} {here}".encode(), digest_size=8)
    for path in files:
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def finished(path: Path, code: str) -> list[Piece]:
    """What was done with this code; a line cut short is done again."""
    done = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            piece = Piece(**json.loads(line))
        except (ValueError, TypeError):
            continue
        if piece.code == code:
            done.append(piece)
    return done


def missing(engines: list[str], schedules: int, code: str, done: list[Piece]) -> Iterator[Piece]:
    """What is to be done, a piece of each engine in turn, so that an end before the end has seen all alike."""
    have = {(piece.engine, piece.first) for piece in done}
    lists = [
        [Piece(name, first, code) for first in range(0, schedules, CHUNK) if (name, first) not in have]
        for name in engines
    ]
    return (piece for turn in zip_longest(*lists) for piece in turn if piece is not None)


def _serve(parent: int) -> None:
    """A worker ends with its parent, however and whenever that ends, and leaves Ctrl-C to it."""
    die_with_parent()
    if os.getppid() != parent:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def _workers(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """So many; what they are at is dropped on Ctrl-C."""
    with ProcessPoolExecutor(jobs, initializer=_serve, initargs=(os.getpid(),)) as pool:
        try:
            yield pool
        except KeyboardInterrupt:
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def soak(pieces: Iterator[Piece], folder: Path, jobs: int, until: float, done: list[Piece]) -> None:
    """Does them until it is time; adds each to ``done`` and to the folder's file as soon as it is there."""
    with (folder / "soak.jsonl").open("a", encoding="utf-8") as file, _workers(jobs) as pool:
        running: set[Future[Piece]] = set()
        while True:
            room = 2 * jobs - len(running) if time.monotonic() < until else 0
            running |= {pool.submit(search, piece, folder) for piece in islice(pieces, room)}
            if not running:
                return
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for one in ended:
                piece = one.result()
                file.write(json.dumps(asdict(piece)) + "\n")
                file.flush()
                done.append(piece)
            told = sum(piece.schedules for piece in done)
            print(f"\r{told:,} schedules", end="", file=sys.stderr, flush=True)


def rows(engines: list[str], done: list[Piece]) -> Iterator[dict[str, object]]:
    """A row an engine. at_most: what share of such schedules may break an invariant for all that was seen, at 99 %."""
    for name in engines:
        own = [piece for piece in done if piece.engine == name]
        schedules = sum(piece.schedules for piece in own)
        broken = [piece for piece in own if piece.broken]
        yield {
            "engine": name,
            "nodes": len(asked(engine_spec(name)).model().configs),
            "schedules": schedules,
            "steps": sum(piece.steps for piece in own),
            "decided": sum(piece.decided for piece in own),
            "broken": len(broken),
            "first": broken[0].broken if broken else "",
            "at_most": clopper_pearson(len(broken), schedules, 0.98).high if schedules else 1.0,
        }


def tell_pitfalls(engines: list[str], schedules: int, jobs: int, as_json: bool) -> None:
    """What is seen of known bugs."""
    pitfalls = [(name, pitfall) for name in engines for pitfall in engine_spec(name).pitfalls]
    with _workers(jobs) as pool:
        firsts = pool.map(seen, *zip(*pitfalls, strict=True), [schedules] * len(pitfalls))
        table = []
        for (name, pitfall), first in zip(pitfalls, firsts, strict=True):
            table.append({"engine": name, "pitfall": str(pitfall), "schedules": schedules, "first": first})
            if not as_json:
                print(
                    f"{name:14} {pitfall:34} {f'not in {schedules:,}' if first is None else f'{first:,}'}", flush=True
                )
    if as_json:
        print(json.dumps(table, indent=1))


def main() -> None:
    """See the module's text. Exit code 1 when a schedule breaks something."""
    known = [spec.name for spec in engine_specs() if spec.decides]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=f"of {', '.join(known)} (default: all)")
    parser.add_argument("--schedules", type=int, help="of each engine (default: 100,000; of each pitfall 1,000)")
    parser.add_argument("--pitfalls", action="store_true", help="plant each known bug: which schedule shows it?")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing new after so long")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=Path("runs/soak"))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    for wish in (signal.SIGINT, signal.SIGTERM):  # a shell that starts us in the background has us ignore Ctrl-C
        signal.signal(wish, _stop)
    engines = given.engines or known
    if strange := next((name for name in engines if name not in known), None):
        parser.error(f"{strange} is no engine that decides; there are {', '.join(known)}")
    if given.pitfalls:
        with suppress(KeyboardInterrupt):
            tell_pitfalls(engines, given.schedules or 1000, given.jobs, given.json)
        return
    given.out.mkdir(parents=True, exist_ok=True)
    code = code_soaked()
    done = [piece for piece in finished(given.out / "soak.jsonl", code) if piece.engine in engines]
    until = time.monotonic() + 60 * given.minutes
    try:
        soak(missing(engines, given.schedules or 100_000, code, done), given.out, given.jobs, until, done)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
    table = list(rows(engines, done))
    if given.json:
        print(json.dumps(table, indent=1))
    else:
        print("\n| engine | nodes | schedules | steps | in which something is decided | broken | at most, 99 % |")
        print("|---|---|---|---|---|---|---|")
        for row in table:
            counts = " | ".join(f"{row[name]:,}" for name in ("nodes", "schedules", "steps", "decided", "broken"))
            print(f"| {row['engine']} | {counts} | {row['at_most']:.1e} |")
        for row in table:
            if row["broken"]:
                print(f"{row['engine']}: {row['first']}")
    if any(row["broken"] for row in table):
        sys.exit(1)


if __name__ == "__main__":
    main()
