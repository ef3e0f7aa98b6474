"""Trials: what one unit of a study measured, and the file that never loses one.

``trials.jsonl`` gets one line per finished trial, written in one piece and synced. A line cut short by a crash is cut
off at the next start. The key of a trial is a hash of all that determines its result, the code included
(testbed.study.fingerprint), so that a study that is started again does exactly what is missing.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from testbed.errors import UserError
from testbed.study.load import Load
from testbed.verdicts.model import answer

OUTCOMES_ALONE = "delays and losses: of these runs only the outcomes are recorded"
"""What is not checked of trials none of whose runs was judged in full."""


@dataclass(frozen=True)
class Trial:
    """What one task measured, summed over its runs.

    x: the swept value in base units. seeds: the seeds of its runs, in order. rounds: rounds judged. broken: rounds in
    which bisynchrony broke. broken_by_run: the broken rounds of each run. kinds: rounds in which some swap broke that
    way; causes likewise. swaps: outcomes of swaps. instances, decided, disagreements, invalid: of consensus.
    disagreeing: (seed, instance). full: how many of its runs were judged in full; of the others on sim only outcomes
    are recorded, and full queues. trust: the fidelity verdict (testbed.verdicts.model.Trust), with its reasons and what
    was not checked. seconds: real time.
    Of runs with clients: loads, one of each run; contradicted: (seed, the first contradiction) of each run in which
    there was any.
    """

    key: str
    variant: str
    engine: str
    x: float
    seeds: tuple[int, ...]
    rounds: int
    broken: int
    broken_by_run: tuple[tuple[int, ...], ...] = ()
    kinds: dict[str, int] = field(default_factory=dict)
    causes: dict[str, int] = field(default_factory=dict)
    swaps: dict[str, int] = field(default_factory=dict)
    instances: int = 0
    decided: int = 0
    disagreements: int = 0
    invalid: int = 0
    disagreeing: tuple[tuple[int, int], ...] = ()
    full: int = 0
    trust: str = "trusted"
    reasons: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    fixed_cost_ns: float = 0.0
    quantiles_apart_ns: float = 0.0
    loads: tuple[Load, ...] = ()
    contradicted: tuple[tuple[int, str], ...] = ()
    seconds: float = 0.0

    @staticmethod
    def from_json(data: dict[str, Any]) -> Trial:
        """The inverse of ``dataclasses.asdict``."""
        return Trial(
            **{
                **data,
                "seeds": tuple(data["seeds"]),
                "broken_by_run": tuple(tuple(run) for run in data["broken_by_run"]),
                "disagreeing": tuple((seed, instance) for seed, instance in data["disagreeing"]),
                "loads": tuple(Load.from_json(load) for load in data["loads"]),
                "contradicted": tuple((seed, what) for seed, what in data["contradicted"]),
                "reasons": tuple(data["reasons"]),
                "unchecked": tuple(data["unchecked"]),
            }
        )


_COUNTED = ("rounds", "broken", "instances", "decided", "disagreements", "invalid", "full")


def summed(trials: Sequence[Trial]) -> dict[str, Any]:
    """The sums over trials of one point, JSON-able. A point is as trusted as its runs that were judged in full, as long
    as nothing was off in any."""
    total: dict[str, Any] = dict.fromkeys(("runs", *_COUNTED), 0)
    in_full = [trial for trial in trials if trial.full] or trials
    tables: dict[str, Counter[str]] = {name: Counter() for name in ("kinds", "causes", "swaps")}
    unchecked = dict.fromkeys(what for trial in in_full for what in trial.unchecked)
    reasons, seconds, fixed, apart = dict[str, None](), 0.0, 0.0, 0.0
    for trial in trials:
        total["runs"] += len(trial.seeds)
        for name in _COUNTED:
            total[name] += getattr(trial, name)
        for name, table in tables.items():
            table.update(getattr(trial, name))
        reasons.update(dict.fromkeys(trial.reasons))
        seconds += trial.seconds
        fixed = max(fixed, trial.fixed_cost_ns)
        apart = max(apart, trial.quantiles_apart_ns)
    return {
        **total,
        **{name: dict(sorted(table.items())) for name, table in tables.items()},
        "trust": str(answer(reasons, unchecked)),
        "reasons": list(reasons),
        "unchecked": list(unchecked),
        "fixed_cost_ns": fixed,
        "quantiles_apart_ns": apart,
        "seconds": round(seconds, 3),
    }


class StudyBusyError(UserError):
    """Another process works on the same study directory."""


class TrialStore:
    """The finished trials of a study directory. Opening it locks the directory against a second study."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "trials.jsonl"
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise StudyBusyError(f"{directory}: another process is running a study in this directory") from None
        self.trials: dict[str, Trial] = {}
        self._load()

    def _load(self) -> None:
        whole = 0
        for line in self.path.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            trial = _parse(line)
            if trial is not None:
                self.trials[trial.key] = trial
        os.ftruncate(self._file, whole)

    def add(self, trial: Trial) -> None:
        """Keep a finished trial: when this returns, it is on disk."""
        line = json.dumps(asdict(trial), sort_keys=True, separators=(",", ":")).encode() + b"\n"
        view = memoryview(line)
        while view:
            view = view[os.write(self._file, view) :]
        os.fdatasync(self._file)
        self.trials[trial.key] = trial

    def close(self) -> None:
        """Unlock the directory."""
        os.close(self._file)

    def __enter__(self) -> TrialStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_trials(directory: Path) -> list[Trial]:
    """The finished trials of a directory, without locking it."""
    lines = (directory / "trials.jsonl").read_bytes().splitlines()
    return [trial for trial in map(_parse, lines) if trial is not None]


def _parse(line: bytes) -> Trial | None:
    """None for a line of another format, or one cut short: such a trial is simply run again."""
    try:
        return Trial.from_json(json.loads(line))
    except (ValueError, TypeError, KeyError):
        return None
