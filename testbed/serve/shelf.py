"""What lies in a folder of runs: its runs and studies, what came of them, and how far those are that go on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from testbed.errors import UserError
from testbed.report.listing import Item, Progress
from testbed.runs import META, told_run
from testbed.study.document import Study, load_study
from testbed.study.trials import Trial, read_trials

TRIALS, RESULTS, REPORT = "trials.jsonl", "results.json", "report.html"


class Shelf:
    """root: the folder. Directories below it are its runs and studies."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._studies: dict[Path, tuple[int, Study | None]] = {}

    def items(self) -> list[Item]:
        """The latest first."""
        found = [item for path in self.root.iterdir() if not path.is_symlink() for item in self._item(path)]
        return sorted(found, key=lambda item: (item.ended, item.name), reverse=True)

    def progress(self, directory: Path) -> list[Progress]:
        """How far a study is: a line for each thing that it compares and each engine."""
        study = self._study(directory)
        names = [arm.variant.name for arm in study.arms] if study else []
        trials = read_trials(directory)
        names += sorted({trial.variant for trial in trials} - set(names))
        grid = study.document.sweep.grid if study else ()
        return [
            _progress(name, engine, [one for one in trials if (one.variant, one.engine) == (name, engine)], grid)
            for name in names
            for engine in sorted({one.engine for one in trials if one.variant == name} | {"sim"})
        ]

    def _item(self, path: Path) -> Iterable[Item]:
        """What the directory holds; nothing that is neither a run nor a study."""
        if (path / TRIALS).is_file():
            state = "goes on" if locked(path / TRIALS) else "ended" if _ended(path) else "interrupted"
            told = self._about(path) or "a study"
            yield Item(path.name, "study", told, state, _written(path / TRIALS), (path / REPORT).is_file())
        elif (told_of := told_run(path)) is not None:
            finished = told_of != "not finished"
            state = "ended" if finished else "goes on" if locked(path) else "interrupted"
            yield Item(path.name, "run", told_of, state, _written(path / META), (path / REPORT).is_file())

    def _about(self, directory: Path) -> str:
        study = self._study(directory)
        return study.document.about if study else ""

    def _study(self, directory: Path) -> Study | None:
        """The study as written, read once; None where it can't be read (any more)."""
        path = directory / "study.yaml"
        try:
            stamp = path.stat().st_mtime_ns
            known = self._studies.get(path)
            if known is None or known[0] != stamp:
                self._studies[path] = stamp, None
                self._studies[path] = stamp, load_study(path)
        except (UserError, OSError):
            pass
        return self._studies.get(path, (0, None))[1]


def _progress(name: str, engine: str, trials: list[Trial], grid: tuple[float, ...]) -> Progress:
    """Counted are rounds, or where a study asks for disagreements instances."""
    broken, rounds = sum(one.broken for one in trials), sum(one.rounds for one in trials)
    instances, disagree = sum(one.instances for one in trials), sum(one.disagreements for one in trials)
    values = {one.x for one in trials}
    return Progress(
        name=name,
        engine=engine,
        values=len(values & set(grid)) if grid else len(values),
        of=len(grid),
        trials=len(trials),
        broken=f"{broken:,} of {rounds:,}".replace(",", "\u202f") if rounds else "–",
        disagree=f"{disagree:,} of {instances:,}".replace(",", "\u202f") if instances else "–",
        seconds=sum(one.seconds for one in trials),
    )


def locked(path: Path) -> bool:
    """Whether a process holds the lock by which runs and studies claim their directories. Looked up, not tried: whoever
    wants it now must not find it taken by us."""
    try:
        wanted = str(path.stat().st_ino)
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    return any("FLOCK" in line and line.split()[-3].rpartition(":")[2] == wanted for line in lines)


def _ended(directory: Path) -> bool:
    """Whether a study has results, and no trials that came after them."""
    results = directory / RESULTS
    return results.is_file() and results.stat().st_mtime_ns >= (directory / TRIALS).stat().st_mtime_ns


def _written(path: Path) -> str:
    return f"{datetime.fromtimestamp(path.stat().st_mtime, UTC):%Y-%m-%d %H:%M:%S}"
