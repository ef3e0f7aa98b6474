"""A scenario that was read and resolved: from a file, from text, or from another with one value replaced."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from testbed.own_engines import Files
from testbed.scenario.document import Document, read_document, resolve_scalar
from testbed.scenario.errors import Path as KeyPath
from testbed.scenario.errors import ScenarioError, shown
from testbed.scenario.model import Expectation, Protocol, Written
from testbed.scenario.problems import problem_lines
from testbed.scenario.resolve import Resolved, resolve

MOST_BYTES = 1_000_000
_PART = re.compile(r'"([^"]*)"|\'([^\']*)\'|\[(\d{1,6})\]|([^."\'\[\]]+)')


@dataclass(frozen=True)
class Scenario:
    """A scenario that was read and makes sense. written: its data. document: where each value stands. base_dir: from
    where paths in it count. resolved: the data laid over the fabric."""

    written: Written
    document: Document
    base_dir: Path
    resolved: Resolved

    def __reduce__(self) -> tuple[Callable[[Document, Path], Scenario], tuple[Document, Path]]:
        # The rest is worked out anew: workers need not be sent it. They may work in another directory.
        return from_document, (self.document, self.base_dir.resolve())

    @property
    def name(self) -> str:
        """What it is called."""
        return self.written.name

    @property
    def engine(self) -> str:
        """The engine that it asks for."""
        return self.written.engine

    @property
    def protocol(self) -> Protocol:
        """The machine on every participant."""
        return self.written.protocol

    @property
    def expect(self) -> Expectation:
        """What the run is expected to show."""
        return self.written.expect

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed but probably not meant, one line each."""
        return self.resolved.warnings

    def with_override(self, path: str, value: Any) -> Scenario:
        """The same scenario with the value at a dotted path replaced: see override."""
        return override(self, path, value)

    def with_count(self, count: int) -> Scenario:
        """The same scenario with so many rounds, or instances where it counts those."""
        return override(self, f"protocol.{self.protocol.counted}", count)


def load(path: str | Path) -> Scenario:
    """Reads, validates and resolves a scenario file. Raises ScenarioError, one line per problem."""
    file = Path(path)
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise ScenarioError(f"{path}: can't be read: {error.strerror or error}; is the name right?") from None
    if len(raw) > MOST_BYTES:
        raise ScenarioError(f"{path}: {len(raw)} bytes are more than a scenario can have ({MOST_BYTES})")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ScenarioError(f"{path}:{line}: not UTF-8 text: byte {raw[error.start]:#04x}; save it as UTF-8") from None
    return parse(text, str(path), file.parent)


def parse(text: str, source: str = "scenario", base_dir: str | Path = ".") -> Scenario:
    """A scenario from YAML text; ``source`` names it in messages, paths in it count from ``base_dir``."""
    return from_document(read_document(text, source), Path(base_dir))


def from_data(data: Any, source: str = "scenario", base_dir: str | Path = ".") -> Scenario:
    """A scenario from plain data (as YAML or JSON would give it)."""
    return from_document(Document(copy.deepcopy(data), source, {}), Path(base_dir))


def from_document(document: Document, base_dir: Path) -> Scenario:
    """Validates and resolves; keeps the document, so that values can be replaced and problems found in it."""
    written = _validated(document, base_dir)
    return Scenario(written, document, base_dir, resolve(written, document, base_dir))


def as_written(scenario: Scenario) -> dict[str, Any]:
    """The scenario as plain JSON-able data, as the user wrote it (with overrides); from_data takes it back."""
    return copy.deepcopy(dict(scenario.document.data))


def override(scenario: Scenario, path: str, value: Any) -> Scenario:
    """The scenario with the value at a dotted path replaced, as sweeps do it: ``links.default.jitter``, ``12us``.

    Keys with dots or other special letters are quoted: ``links."leaf*<->spine*".jitter``; list places are numbers:
    ``faults.0.at``. A text is read as YAML would read it unquoted (``3`` is a number). Keys that are not there are
    added. Raises ScenarioError for a path that leads nowhere or a value that makes no sense there.
    """
    keys = split_path(path)
    plain = resolve_scalar(value) if isinstance(value, str) else value
    old = scenario.document
    data = copy.deepcopy(old.data)
    _put(data, keys, plain, path)
    document = replace(old, data=data)
    if keys == ("seed",) and isinstance(plain, int) and not isinstance(plain, bool) and 0 <= plain < 2**64:
        written = scenario.written.model_copy(update={"seed": plain})  # what was resolved knows no seed
        return replace(scenario, written=written, document=document)
    return from_document(document, scenario.base_dir)


def split_path(path: str) -> KeyPath:
    """``links."a.b".jitter`` -> ("links", "a.b", "jitter"); numbers and [n] become list places when applied."""
    keys: list[str | int] = []
    place = 0
    while place < len(path):
        match = _PART.match(path, place)
        if match is None:
            raise ScenarioError(f"override {shown(path)}: can't be read; write it like links.default.jitter")
        quoted, single, index, bare = match.groups()
        text = next((part for part in (quoted, single, bare) if part is not None), "")
        keys.append(int(index) if index is not None else text)
        place = match.end()
        if place < len(path) and path[place] == ".":
            place += 1
            if place == len(path):
                raise ScenarioError(f"override {shown(path)}: ends with a dot; name the last key")
        elif place < len(path) and path[place] != "[":
            raise ScenarioError(f"override {shown(path)}: can't be read; put quotes around the whole of a special key")
    if not keys:
        raise ScenarioError("override: the path is empty; write it like links.default.jitter")
    return tuple(keys)


def _validated(document: Document, base_dir: Path) -> Written:
    if not isinstance(document.data, dict):
        raise ScenarioError(document.problem((), f"a scenario is a mapping (key: value), not {shown(document.data)}"))
    try:
        return Written.model_validate(document.data, context=Files(base_dir, document.files))
    except ValidationError as error:
        raise ScenarioError(problem_lines(error, document)) from None


def _put(data: Any, keys: KeyPath, value: Any, path: str) -> None:
    for place, key in enumerate(keys):
        last = place == len(keys) - 1
        if isinstance(data, list):
            number = int(key) if str(key).isdecimal() else len(data)
            if number >= len(data):
                raise ScenarioError(f"override {shown(path)}: {shown(key)} is no place in a list of {len(data)}")
            if last:
                data[number] = value
            data = data[number]
        elif isinstance(data, dict):
            if last:
                data[str(key)] = value
            data = data.setdefault(str(key), {})
        else:
            raise ScenarioError(f"override {shown(path)}: there is nothing below {shown(keys[place - 1])}")
