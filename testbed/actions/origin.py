"""What the footer of a page says, and what it links to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from testbed.report.pages import Origin


def origin(ended: Path, contents: Mapping[str, str]) -> Origin:
    """By which version, when the file ``ended`` was written, and which of ``contents`` (name -> what is in it) lie
    beside it; folders end in a slash."""
    from testbed.report.pages import Origin

    at = datetime.fromtimestamp(ended.stat().st_mtime, UTC)
    there = [(ended.parent / name, what) for name, what in contents.items() if (ended.parent / name).exists()]
    files = [(path.name + "/" * path.is_dir(), what) for path, what in there]
    return Origin(f"OAE testbed {version('oae-testbed')}, {at:%Y-%m-%d %H:%M} UTC", files)
