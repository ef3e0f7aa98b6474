"""What the footer of a page says, and what it links to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from testbed.report.pages import Origin


def told_version() -> str:
    """Which version of the testbed this is; a folder of sources that nobody installed has none."""
    try:
        return version("oae-testbed")
    except PackageNotFoundError:
        return "(not installed)"


def origin(ended: Path, files: Mapping[str, str]) -> Origin:
    """By which version, when the file ``ended`` was written, and which of ``files`` (name -> what is in it; folders end
    in a slash) lie beside it, but for the page itself."""
    from testbed.report.pages import Origin

    at = datetime.fromtimestamp(ended.stat().st_mtime, UTC)
    there = [(name, what.replace("`", "")) for name, what in files.items() if (ended.parent / name).exists()]
    beside = [(name, what) for name, what in there if name != "report.html"]
    return Origin(f"OAE testbed {told_version()}, {at:%Y-%m-%d %H:%M} UTC", beside)
