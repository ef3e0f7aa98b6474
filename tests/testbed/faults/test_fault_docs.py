"""docs/faults.md says of every verb what the code says."""

from __future__ import annotations

from pathlib import Path

from testbed.faults import VERBS

ROOT = Path(__file__).resolve().parents[3]


def test_every_verb_stands_in_the_table_with_its_meaning() -> None:
    text = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    listed = [line for line in text.splitlines() if line.startswith("| `")]
    assert listed == [
        f"| `{verb.name}` | {verb.strikes} | {f'`{verb.undo}`' if verb.undo else ''} | {verb.meaning} |"
        for verb in VERBS.values()
    ]
