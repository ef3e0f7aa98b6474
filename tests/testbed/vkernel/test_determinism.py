"""Two boots of one guest write the same bytes, whatever the host is doing and whoever runs them."""

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from needs import as_nobody, lacking
from vkernel_helpers import REPO, open_folder, open_kernel
from vkernel_probe import DELAY_NS, JITTER_NS, PAIRS

ROUNDS = 3000
PROBE = Path(__file__).with_name("vkernel_probe.py")
pytestmark = [pytest.mark.slow, pytest.mark.kernel]


@pytest.fixture(scope="module")
def idle(kernel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the probe writes of the first seed, as far as this file is concerned on an idle host."""
    return run_probe(tmp_path_factory.mktemp("idle") / "deeper" / "and" / "elsewhere", kernel)


@contextmanager
def load() -> Iterator[None]:
    """Two busy loops per core."""
    count = 2 * len(os.sched_getaffinity(0))
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def run_probe(job: Path, kernel: Path, python: Sequence[str] = (sys.executable,), seed: int = 1) -> dict[str, bytes]:
    """Boots the probe from a process of its own, started by the command `python`, and returns what it wrote."""
    code = (
        "import sys; from pathlib import Path; from testbed.engines.vkernel.boot import *;"
        f"r = boot(Guest(({sys.executable!r}, {str(PROBE)!r}, '{ROUNDS}'), Path(sys.argv[1]), Path({str(REPO)!r}),"
        f"kernel=Path(sys.argv[2]), seed={seed}));"
        "print(console_tail(r.console)); sys.exit(r.status)"
    )
    done = subprocess.run(
        [*python, "-c", code, str(job), str(kernel)],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.name: path.read_bytes() for path in sorted(job.glob("*.txt"))}


def round_trips(written: dict[str, bytes]) -> list[int]:
    """Nanoseconds from one receive stamp to the next: a round trip each, since computing takes no time."""
    trips = []
    for pair in range(PAIRS):
        stamps = [int(line) for line in written[f"rtt-{pair}.txt"].split()]
        trips += [later - earlier for earlier, later in itertools.pairwise(stamps)]
    return trips


def test_idle_and_loaded_boots_are_byte_identical(kernel: Path, tmp_path: Path, idle: dict[str, bytes]) -> None:
    with load():
        loaded = run_probe(tmp_path / "loaded", kernel)
    assert len(loaded) == PAIRS + 1
    assert loaded == idle


def test_delays_are_those_asked_for(idle: dict[str, bytes]) -> None:
    trips = sorted(round_trips(idle))
    assert len(trips) == PAIRS * (ROUNDS - 1)
    assert trips[0] >= 2 * (DELAY_NS - JITTER_NS)
    assert trips[-1] <= 2 * (DELAY_NS + JITTER_NS) + 1_000
    assert abs(trips[len(trips) // 2] - 2 * DELAY_NS) < 300


def test_the_guests_entropy_follows_the_seed(kernel: Path, tmp_path: Path, idle: dict[str, bytes]) -> None:
    other = run_probe(tmp_path / "2", kernel, seed=2)
    assert idle["host.txt"] != other["host.txt"]
    assert round_trips(idle)[0] == round_trips(other)[0]  # netem's own seeds are the same


def test_root_and_nobody_get_the_same_bytes(kernel: Path, tmp_path: Path, idle: dict[str, bytes]) -> None:
    if os.getuid() != 0:
        lacking("user", "only root can become somebody else")
    python = as_nobody()
    folder = open_folder(tmp_path)
    try:
        theirs = run_probe(folder / "job", open_kernel(kernel, folder), python)
    finally:
        shutil.rmtree(folder)
    assert theirs == idle
