"""``testbed clean``: remove what runs of ours left behind, by name, owner and marks only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from testbed.cli.output import JsonFlag, existing, print_json, verb

_A_DAY_S = 86_400


@verb
def clean(
    runs: Annotated[
        Path | None, typer.Option(help="Also delete the run and study directories in this directory.")
    ] = None,
    cache: Annotated[bool, typer.Option("--cache", help="Also delete built virtual-time kernels.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would go, and touch nothing.")] = False,
    json: JsonFlag = False,
) -> None:
    """Remove the state of fabrics that ended and forgotten scratch directories.

    Fabrics and guests need no cleaning: their namespaces go with the process that made them, whatever ends it.
    """
    found = [*_states(), *_scratch(), *(_runs(runs) if runs else ()), *(_kernels() if cache else ())]
    if not dry_run:
        for kind, name in found:
            _remove(kind, name)
    if json:
        print_json({"removed": [] if dry_run else _named(found), "found": _named(found)})
    elif not found:
        print("Nothing to clean.")
    else:
        for kind, name in found:
            print(f"{'would remove' if dry_run else 'removed'} {kind} {name}")


def _named(found: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"kind": kind, "name": name} for kind, name in found]


def _states() -> list[tuple[str, str]]:
    from testbed.cli.fabrics import stale

    return [("state file", str(path)) for path in stale()]


def _scratch() -> list[tuple[str, str]]:
    """Of runs that were killed: ours by name and owner, and a day old at least: a run that goes on keeps its own."""
    import os
    import tempfile
    import time

    from testbed.engines.base import SCRATCH

    found = []
    for path in sorted(Path(tempfile.gettempdir()).glob(f"{SCRATCH}*")):
        status = path.lstat()
        if (
            path.is_dir()
            and not path.is_symlink()
            and status.st_uid == os.geteuid()
            and time.time() - status.st_mtime > _A_DAY_S
        ):
            found.append(("directory", str(path)))
    return found


def _runs(base: Path) -> list[tuple[str, str]]:
    """Only what carries the marks of a run (its plan, what became of it) or of a study (document and trials)."""
    found = []
    for path in sorted(existing(base, "directory").iterdir()):
        run = (path / "plan.json").is_file() and (path / "meta.json").is_file()
        study = (path / "study.yaml").is_file() and (path / "trials.jsonl").is_file()
        if path.is_dir() and not path.is_symlink() and (run or study):
            found.append(("directory", str(path)))
    return found


def _kernels() -> list[tuple[str, str]]:
    from testbed.engines.vkernel.kernel import cache_folder

    folder = cache_folder()
    return [("directory", str(path)) for path in sorted(folder.glob("*")) if (path / "linux").is_file()]


def _remove(kind: str, name: str) -> None:
    import shutil

    if kind == "directory":
        shutil.rmtree(name)
    else:
        Path(name).unlink(missing_ok=True)
