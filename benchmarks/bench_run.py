"""``testbed run`` as a user waits for it, against the first version that did all of it: two trees, one run.

The peer is this project's own commit FIRST, unpacked in a folder that lasts as long as the benchmark. Both run
the same scenario on ``sim`` with the same interpreter and packages and leave a whole run directory; what they judge
must be the same, or the benchmark fails. Repetitions alternate; the figure is the median of the ratios of neighbours.
A first pair, which is not counted, leaves Python's bytecode of either tree in a cache, as a user's first run does.
Time is the CPU time of the whole command, from the interpreter's start to its end, so that other work on the host
disturbs little. A compiled build (``make compiled``) is used where there is one, and whether it was is said.
SIGTERM ends the command under way and the benchmark, and its folders go.

    python benchmarks/bench_run.py [--repetitions 5] [--scenario nic-crash-mid-swap]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from spread import spread

from testbed.compiled import folder

FIRST = "3df17dc047e0f2b51599431effc0b49f158a4807"
ROOT = Path(__file__).resolve().parent.parent
COMMAND = "from testbed.cli.main import main; main()"

ended: list[int] = []
"""Signals that ask for an end."""

running: list[subprocess.Popen[bytes]] = []
"""The command under way."""


def end(number: int, _: object) -> None:
    """Have the command ended, and leave a note; an exception in the middle of starting one would leave it running."""
    ended.append(number)
    for command in running:
        command.terminate()


def run(tree: Path, scenario: str, directory: Path, bytecode: Path) -> tuple[float, dict[str, Any]]:
    """CPU seconds of one ``testbed run``, and what it says of rounds and consensus."""
    cached = {"PYTHONPYCACHEPREFIX": str(bytecode), "PYTHONDONTWRITEBYTECODE": ""}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, "run", scenario, "--engine", "sim", "--out", str(directory)],
        env={**os.environ, "PYTHONPATH": str(tree), **cached},
        cwd=directory.parent,
        stdout=subprocess.DEVNULL,
    ) as command:
        running[:] = [command]
        if ended:  # while it was being started
            command.terminate()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended:
        sys.exit(128 + ended[0])
    if command.returncode:
        sys.exit(command.returncode)
    verdicts = json.loads((directory / "verdicts.json").read_text(encoding="utf-8"))
    rounds = verdicts["bisynchrony"]
    judged = {name: rounds[name] for name in ("rounds", "broken_rounds", "swaps")}
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, judged


def compare(first: Path, scenario: str, repetitions: int) -> dict[str, Any]:
    """Alternate between the trees, compare neighbours."""
    ours: list[float] = []
    theirs: list[float] = []
    bytecode = first.parent / "bytecode"
    for number in range(repetitions + 1):
        with tempfile.TemporaryDirectory(prefix="oae-testbed-bench-") as scratch:
            then_s, then = run(first, scenario, Path(scratch) / "then", bytecode)
            now_s, now = run(ROOT, scenario, Path(scratch) / "now", bytecode)
        assert then == now, f"{scenario}: judged {now}, and by the first version {then}"
        if number:
            theirs.append(then_s)
            ours.append(now_s)
    ratios = [then_s / now_s for then_s, now_s in zip(theirs, ours, strict=True)]
    return {
        "benchmark": "testbed-run",
        "scenario": scenario,
        "repetitions": repetitions,
        "compiled": os.environ.get("OAE_COMPILED") != "0" and folder().is_dir(),
        "first_version_cpu_s": spread(theirs),
        "now_cpu_s": spread(ours),
        "ratio": spread(ratios),
    }


def main() -> None:
    """Print one JSON line and one line for people."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--scenario", default="nic-crash-mid-swap")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, end)
    with tempfile.TemporaryDirectory(prefix="oae-testbed-bench-") as scratch:
        first = Path(scratch) / "first"
        packed = subprocess.run(
            ["git", "-C", str(ROOT), "archive", "--format=tar", FIRST], capture_output=True, check=False
        )
        if packed.returncode:
            reason = packed.stderr.decode().strip()
            print(f"testbed run: no peer, for this clone does not hold commit {FIRST[:7]}: {reason}")
            return
        first.mkdir()
        subprocess.run(["tar", "-x", "-C", str(first)], input=packed.stdout, check=True)
        result = compare(first, chosen.scenario, chosen.repetitions)
    ratio = result["ratio"]
    print(json.dumps(result))
    print(
        f"testbed run {chosen.scenario}: {result['now_cpu_s']['median']:.1f} s of CPU time, the first version "
        f"{result['first_version_cpu_s']['median']:.1f} s: {ratio['median']:.1f} times as fast "
        f"({ratio['min']:.1f} to {ratio['max']:.1f} in {result['repetitions']} pairs; "
        f"{'with' if result['compiled'] else 'without'} the compiled build)"
    )


if __name__ == "__main__":
    main()
