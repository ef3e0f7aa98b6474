"""From what a user names to files and engines."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from testbed.errors import UserError
from testbed.shipped import shipped

if TYPE_CHECKING:
    from testbed.engines.base import Engine


def find_document(name: str, folder: str) -> Path:
    """A file as named, or one that ships in ``folder`` (scenarios, studies), with or without its ending."""
    ours = shipped(folder)
    for path in (Path(name), Path(f"{name}.yaml"), ours / name, ours / f"{name}.yaml"):
        if path.is_file():
            return path
    names = sorted(path.stem for path in ours.glob("*.yaml"))
    begun = [each for each in names if name and each.startswith(name)]
    close = begun[:4] or get_close_matches(name, names, n=1)
    shipping = f"a file is wanted, or one that ships: {', '.join(names)}"
    advice = f"did you mean {' or '.join(close)}?" if close else shipping
    what = folder.removesuffix("s") if folder != "studies" else "study"
    other, verb = ("scenarios", "run") if folder == "studies" else ("studies", "study")
    if name and (shipped(other) / f"{Path(name).stem}.yaml").is_file():
        raise UserError(f"{name} is no {what}, but there is one of {other} of that name: testbed {verb} {name}")
    raise UserError(f"{name or repr(name)}: there is no such {what}; {advice}")


def run_directory(path: Path) -> Path:
    """A run's directory as named; ``latest``: the last one in ./runs that was finished."""
    from testbed.runs import LATEST, RUNS

    found = Path(RUNS) / LATEST if str(path) == LATEST and not path.exists() else path
    return found.parent / found.readlink() if found.is_symlink() else found


def check_kind(path: Path, folder: str) -> Path:
    """``path`` again, unless what stands in it belongs into the other of scenarios and studies. Raises UserError."""
    from testbed.scenario import ScenarioError
    from testbed.scenario.document import read_document
    from testbed.scenario.from_file import is_clab

    try:
        data = read_document(path.read_text(encoding="utf-8-sig"), str(path)).data
    except (OSError, UnicodeDecodeError, ScenarioError):
        return path  # whoever reads it says what is wrong
    if is_clab(data):
        raise UserError(
            f"{path} is a topology of containerlab's: testbed up {quote(str(path))}, or name it in a scenario, as "
            f"topology: {{kind: from_file, file: {path.name}}}"
        )
    keys = set(data) if isinstance(data, dict) else set()
    if folder == "scenarios" and {"scenario", "sweep"} <= keys:
        raise UserError(f"{path} is a study, not a scenario: testbed study {quote(str(path))}")
    if folder == "studies" and "topology" in keys and not keys & {"scenario", "sweep"}:
        raise UserError(f"{path} is a scenario, not a study: testbed run {quote(str(path))}")
    return path


def named_engine(name: str) -> Engine:
    """The engine a user named."""
    from testbed.engines.registry import ENGINES, engine_by_name

    if name not in ENGINES:
        raise UserError(f"engine {name}: there are {', '.join(ENGINES)}")
    try:
        return engine_by_name(name)
    except ImportError as error:
        raise UserError(f"engine {name} cannot be loaded: {error}; install it anew (in a clone: make setup)") from None
