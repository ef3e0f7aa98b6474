"""tshark with the project's dissector: what it makes of each frame of a capture."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from needs import ROOT, lacking

DISSECTOR = ROOT / "nodes" / "frames" / "oae.lua"
NUMBERS = (
    "version",
    "kind",
    "step",
    "flags",
    "reserved",
    "length",
    "src",
    "dst",
    "epoch",
    "peer_epoch",
    "round",
    "seq",
)
_SHOWN_WHERE_WRONG = ("_ws.malformed", "_ws.lua.error", "_ws.short")


def dissected(capture: Path, fields: Sequence[str], occurrence: str = "f") -> list[dict[str, str]]:
    """Each frame's fields, those of ``fields`` that it has, as tshark spells them; of a repeated one the first, or all
    ("a"), behind each other with commas.

    Skips the test where there is no tshark. Fails it when a frame is malformed to Wireshark, or the script stumbled.
    """
    program = shutil.which("tshark", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))
    if program is None:
        lacking("tshark", "apt-get install tshark")
    asked = (*fields, *_SHOWN_WHERE_WRONG)
    options = [word for field in asked for word in ("-e", field)]
    command = [
        program,
        "-n",
        "-X",
        f"lua_script:{DISSECTOR}",
        "-r",
        str(capture),
        "-T",
        "fields",
        "-E",
        f"occurrence={occurrence}",
    ]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "lua" not in done.stderr.lower(), done.stderr
    rows = [dict(zip(asked, line.split("\t"), strict=True)) for line in done.stdout.splitlines()]
    for number, row in enumerate(rows, 1):
        assert not any(row.pop(name) for name in _SHOWN_WHERE_WRONG), f"frame {number} is malformed: {row}"
    return [{name: value for name, value in row.items() if value} for row in rows]


def numbers_of(row: dict[str, str]) -> dict[str, int]:
    """The numbers in a frame's header, by name."""
    return {name: int(row[f"oae.{name}"], 0) for name in NUMBERS}


def is_true(text: str | None) -> bool:
    """A field that is true or false: older versions say 1, newer ones True."""
    return text in ("1", "True")
