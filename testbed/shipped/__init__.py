"""What ships with the package beside code: scenarios, studies and their schemas, playbooks, examples, plans of the
benchmarks.

In a clone the entries beside this file are symbolic links to the folders at the top; in a wheel they are folders.
"""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve().parent


def shipped(name: str) -> Path:
    """Where ``scenarios``, ``studies``, ``playbooks``, ``examples``, ``plans`` (folders) or ``ansible.cfg`` lies."""
    return (_HERE / name).resolve()
