"""``testbed clean``: remove what runs of ours left behind, by name, owner and marks only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.cli.output import JsonFlag, existing, print_json, verb

if TYPE_CHECKING:
    from testbed.engines.live.containers.engine import ContainerEngine

_A_DAY_S = 86_400
CONTAINER, IMAGE, LEDGER = "container", "image", "entry of a killed run"


@verb
def clean(
    runs: Annotated[
        Path | None, typer.Option(help="Also delete the run and study directories in this directory.")
    ] = None,
    cache: Annotated[
        bool, typer.Option("--cache", help="Also delete built virtual-time kernels and images of nodes.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Say what would go, and touch nothing.")] = False,
    json: JsonFlag = False,
) -> None:
    """Remove the state of fabrics that ended, containers of runs that were killed, and forgotten scratch directories.

    Fabrics and guests need no cleaning: their namespaces go with the process that made them, whatever ends it.
    """
    found = [*_states(), *_containers(), *_scratch(), *(_runs(runs) if runs else ())]
    if cache:
        found += [*_kernels(), *_images()]
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


def _containers() -> list[tuple[str, str]]:
    """By their labels, which name the process that they belonged to; and runs in the ledger, after which an engine may
    still be busy."""
    from testbed.engines.live.containers.hosting import left_behind, stale_entries

    found = [(LEDGER, str(path)) for path, _ in stale_entries()]
    engine = _engine()
    return found if engine is None else [*((CONTAINER, each.name) for each in left_behind(engine)), *found]


def _engine() -> ContainerEngine | None:
    """This host's, if one answers: without it nothing of ours can be there."""
    from testbed.engines.base import EngineUnavailable
    from testbed.engines.live.containers.engine import ContainerEngine

    try:
        return ContainerEngine.find()
    except EngineUnavailable:
        return None


def _images() -> list[tuple[str, str]]:
    """In the cache and in the engine, by their label."""
    from testbed.engines.live.containers.image import image_folder

    engine = _engine()
    found = [
        ("directory", str(path)) for path in sorted(image_folder().parent.glob("*")) if (path / "digest").is_file()
    ]
    return found if engine is None else [*found, *((IMAGE, name) for name in engine.images())]


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

    from testbed.runs import LATEST

    if kind == "directory":
        shutil.rmtree(name)
        latest = Path(name).with_name(LATEST)
        if latest.is_symlink() and not latest.exists():  # it led there
            latest.unlink()
    elif kind in (CONTAINER, IMAGE):
        _remove_from_engine(kind, name)
    elif kind == LEDGER:
        from testbed.engines.live.containers.hosting import close_entry

        close_entry(Path(name))
    else:
        Path(name).unlink(missing_ok=True)


def _remove_from_engine(kind: str, name: str) -> None:
    engine = _engine()
    if engine is not None and kind == CONTAINER:
        engine.remove(name)
    elif engine is not None:
        engine.remove_image(name)
