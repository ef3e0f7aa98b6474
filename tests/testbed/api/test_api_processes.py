"""The interface in whatever a user calls it from: a plain script, a thread, a running loop, a Ctrl-C in the middle."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from families import children, stat_of

import testbed

SWEPT = """
import sys, testbed
scenario = testbed.load("last-message-lost")
found = testbed.sweep(scenario, {"protocol.depth": [2, 4]}, runs=2, jobs=1)
print(found["broken_runs"].tolist(), found.curve(), "matplotlib.pyplot" in sys.modules)
"""


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = [sys.executable, *words]
    return subprocess.run(done, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def test_a_script_without_a_main_guard_sweeps_in_a_worker_process(tmp_path: Path) -> None:
    """multiprocessing would run the script again in every worker, which would start workers of their own. And pictures
    are not drawn by pyplot, whose state is that of the user's own plots."""
    (tmp_path / "mine.py").write_text(SWEPT, encoding="utf-8")
    done = python(tmp_path, "mine.py")
    told = "[0, 2] <Diagram: last-message-lost: p_round> False\n"
    assert (done.stdout, done.stderr, done.returncode) == (told, "", 0)


ENDLESS = """
import testbed
testbed.sweep("nic-crash-mid-swap", {"protocol.depth": [2, 4]}, runs=10_000, jobs=2)
"""


def test_a_ctrl_c_in_the_middle_of_a_sweep_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "scratch")}
    sweeping = subprocess.Popen([sys.executable, "-c", ENDLESS], stderr=subprocess.PIPE, env=environment)
    try:
        while len(workers := children(sweeping.pid)) < 2:
            assert sweeping.poll() is None
            time.sleep(0.05)
        sweeping.send_signal(signal.SIGINT)
        _, said = sweeping.communicate(timeout=120)
    finally:
        sweeping.kill()
    assert said.decode().endswith("KeyboardInterrupt\n")
    assert not any(stat_of(pid)[19:20] == [began] for pid, began in workers.items())
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_run_in_a_thread_and_one_under_a_loop_leave_the_process_as_it_was(tmp_path: Path) -> None:
    before = (os.getcwd(), [signal.getsignal(number) for number in signal.valid_signals()], threading.enumerate())

    async def notebook() -> list[str]:
        inside = testbed.run("last-message-lost")
        aside = await asyncio.to_thread(testbed.run, "last-message-lost", keep=tmp_path / "kept")
        return [str(one.verdict) for one in (inside, aside)]

    inside, aside = asyncio.run(notebook())
    assert inside == aside
    assert before == (
        os.getcwd(),
        [signal.getsignal(number) for number in signal.valid_signals()],
        threading.enumerate(),
    )
