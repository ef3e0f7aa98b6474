"""The soak goes on where it stopped, does again what was cut short or done with other code, and sees known bugs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from needs import ROOT

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


def test_known_bugs_are_seen_or_said_not_to_be(tmp_path: Path) -> None:
    rows = soak(tmp_path, "hydra", "--pitfalls", "--schedules", "5")
    first = {row["pitfall"]: row["first"] for row in rows}
    assert first["skip_not_agreed"] is not None
    assert first["waiting_forgotten"] is None
