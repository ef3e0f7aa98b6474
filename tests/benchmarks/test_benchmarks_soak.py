"""The soak goes on where it stopped, does again what was cut short or done with other code, and sees known bugs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from needs import ROOT

from testbed.processes import start_time

_SOAK = str(ROOT / "benchmarks" / "soak.py")


def soak(folder: Path, *words: str) -> list[dict[str, object]]:
    ran = subprocess.run(
        [sys.executable, _SOAK, *words, "--jobs", "1", "--out", str(folder), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    rows: list[dict[str, object]] = json.loads(ran.stdout)
    return rows


def test_a_soak_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Given a finished piece, one cut short and one of other code, when the same is asked for again, then only what is
    missing is done, and comes out as before."""
    (row,) = soak(tmp_path, "floodset", "--schedules", "500")
    assert (row["schedules"], row["broken"], row["nodes"]) == (500, 0, 3)
    assert row["decided"]
    kept = tmp_path / "soak.jsonl"
    first, second = kept.read_text().splitlines()
    other = {**json.loads(second), "code": "other", "steps": 7}
    kept.write_text(f"{first}\n{json.dumps(other)}\n{second[:40]}\n")
    assert soak(tmp_path, "floodset", "--schedules", "500") == [row]
    assert kept.read_text().splitlines()[-1] == second
    assert len(kept.read_text().splitlines()) == 4


@pytest.mark.parametrize("what", ["", "--pitfalls"])
@pytest.mark.parametrize("wish", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_soak_that_is_ended_leaves_no_worker(tmp_path: Path, wish: signal.Signals, what: str) -> None:
    words = [sys.executable, _SOAK, "paxos", "--schedules", "100000", "--jobs", "2", "--out", str(tmp_path)]
    words += [what] if what else []
    soaking = subprocess.Popen(
        words,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=deaf_to_interrupts,  # noqa: PLW1509 (calls nothing but signal)
    )
    children = Path(f"/proc/{soaking.pid}/task/{soaking.pid}/children")
    while len(workers := [int(pid) for pid in children.read_text().split()]) < 2:
        assert soaking.poll() is None
        time.sleep(0.05)
    soaking.send_signal(wish)
    assert "Traceback" not in soaking.communicate()[1]
    while any(start_time(pid) for pid in workers):
        time.sleep(0.05)  # ends by itself, or never: then the test's time runs out


def deaf_to_interrupts() -> None:
    """As a shell starts what runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def test_known_bugs_are_seen_or_said_not_to_be(tmp_path: Path) -> None:
    rows = soak(tmp_path, "hydra", "--pitfalls", "--schedules", "5")
    first = {row["pitfall"]: row["first"] for row in rows}
    assert first["skip_not_agreed"] is not None
    assert first["waiting_forgotten"] is None
