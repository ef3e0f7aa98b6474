"""Benchmarks are run by hand (make bench); so that no change breaks them unnoticed, each must start."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from needs import MOOT, ROOT, lacking

BENCHES = sorted((ROOT / "benchmarks").glob("bench_*.py"))


@pytest.mark.parametrize("bench", BENCHES, ids=lambda path: path.stem)
def test_a_benchmark_starts(bench: Path) -> None:
    told = subprocess.run([sys.executable, str(bench), "--help"], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert "usage" in told.stdout


def test_a_benchmark_that_is_ended_early_leaves_nothing_of_its_peer(tmp_path: Path) -> None:
    """bench_run unpacks the first version for as long as it runs; SIGTERM leaves neither a folder nor a worktree."""

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)

    sys.path.insert(0, str(ROOT / "benchmarks"))
    from bench_run import FIRST

    if git("cat-file", "-e", f"{FIRST}^{{commit}}").returncode:
        lacking(MOOT, f"this copy of the project does not hold its commit {FIRST[:7]}, the benchmark's peer")
    bench = subprocess.Popen(
        [sys.executable, str(ROOT / "benchmarks" / "bench_run.py"), "--scenario", "clean-live"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
    )
    while not list(tmp_path.glob("*/bytecode")) and bench.poll() is None:
        time.sleep(0.05)
    bench.terminate()
    assert bench.wait() == 128 + 15
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in git("worktree", "list", "--porcelain").stdout
