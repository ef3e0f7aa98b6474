"""An engine of consensus from a file of the user's: read, looked through, and made part of the scenario.

A protocol does no I/O, and no clock, random source or order of a set gets into what it says: what lint finds in our own
engines is found here in the user's, before anything is run. The files' texts become part of the plan
(testbed.nodes.core.own.OwnEngine), so they may import nothing but each other, ``nodes``, and what of Python's library
only computes.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import testbed.nodes
import testbed.nodes.agent
import testbed.nodes.registry
from testbed import plugins
from testbed.nodes.core.inputs import draw
from testbed.nodes.core.own import EngineName, OwnEngine, OwnEngineError
from testbed.nodes.registry import engine_names

ONLY_COMPUTES = [
    "__future__",
    "abc",
    "array",
    "base64",
    "binascii",
    "bisect",
    "cmath",
    "collections",
    "contextlib",
    "copy",
    "dataclasses",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "graphlib",
    "hashlib",
    "heapq",
    "hmac",
    "itertools",
    "json",
    "math",
    "numbers",
    "operator",
    "re",
    "statistics",
    "string",
    "struct",
    "textwrap",
    "types",
    "typing",
    "zlib",
]
"""Modules of Python's library that an engine may import."""

_NODES = testbed.nodes.__name__
_NOT_FOR_MACHINES = (testbed.nodes.agent.__name__, testbed.nodes.registry.__name__)
_NOT_TO_BE_CALLED = {
    "open": "reads and writes files",
    "input": "waits for a person",
    "eval": "runs what nobody has looked through",
    "exec": "runs what nobody has looked through",
    "compile": "runs what nobody has looked through",
    "__import__": "imports what nobody has looked through",
    "breakpoint": "waits for a person",
    "hash": "gives another number for a text in each process",
    "id": "gives another number in each process",
}
_REFERENCE = re.compile(r"(?P<file>.+\.py):(?P<object>[A-Za-z_]\w*)")
_MOST_BYTES = 200_000


@dataclass(frozen=True)
class Files:
    """The files of a user's that a document names, each read once: whoever is given ``texts`` needs them no more, and a
    study runs the same engine to its end. base_dir: from where their paths count; what is not there may be in the
    present folder, where ``--set protocol.consensus=mine.py:Mine`` is typed."""

    base_dir: Path = field(default_factory=Path)
    texts: dict[str, str] = field(default_factory=dict)

    def text(self, path: str) -> str:
        """What is in a file. Raises OwnEngineError."""
        if path not in self.texts:
            file = self._place(path)
            try:
                raw = file.read_bytes()
                text = raw.decode("utf-8-sig").replace("\r\n", "\n")
            except FileNotFoundError:
                raise OwnEngineError(f"there is no file {path!r}, neither beside the scenario nor here") from None
            except UnicodeDecodeError:
                raise OwnEngineError(f"{path} is not UTF-8 text; a Python file is wanted") from None
            except OSError as error:
                raise OwnEngineError(f"{path} can't be read: {error.strerror}") from None
            if len(raw) > _MOST_BYTES:
                raise OwnEngineError(f"{path}: {len(raw)} bytes are more than such a file can have ({_MOST_BYTES})")
            self.texts[path] = text
        return self.texts[path]

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        return path in self.texts or self._place(path).is_file()

    def _place(self, path: str) -> Path:
        beside = self.base_dir / path
        return beside if beside.is_file() else Path(path)


def engine_called(name: str, files: Files) -> EngineName | None:
    """The engine that a user means: one that ships, by its name, or whole: ``mine.py:Mine``, or what an installed
    package brings under this name. None: there is none. Raises OwnEngineError for what is wrong in a file, PluginError
    for a name that means two things."""
    match = _REFERENCE.fullmatch(name)
    if match is not None:
        return own_engine(match["file"], match["object"], files)
    remembered = files.texts.get(f"{plugins.ENGINES} {name}")
    if remembered is not None:  # where the package need not be installed
        file, _, object_ = remembered.rpartition(":")
        return own_engine(file, object_, files, name)
    point = plugins.called(plugins.ENGINES, name, engine_names())
    if point is None:
        return name if name in engine_names() else None
    folder, file, object_ = plugins.source(point)
    found = own_engine(file, object_, Files(folder, files.texts), name)
    files.texts[f"{plugins.ENGINES} {name}"] = f"{file}:{object_}"
    return found


def own_engine(file: str, object_: str, files: Files, name: str = "") -> OwnEngine:
    """The engine in a file of the user's, with the files beside it that it imports. name: what it is called, where that
    is not what it is. Raises OwnEngineError, one line, for what is wrong in them; whether it makes an engine is not
    asked yet (testbed.nodes.registry.engine_spec)."""
    path = PurePath(file)
    sources: dict[str, str] = {}
    waiting = [path.stem]
    while waiting:
        module = waiting.pop(0)
        if module in sources:
            continue
        beside = str(path.with_name(f"{module}.py"))
        sources[module] = files.text(beside)
        waiting += _imported_from_beside(sources[module], beside, files)
    return OwnEngine(name or f"{path.name}:{object_}", file, object_, tuple(sources.items()))


# -- what is in a file -------------------------------------------------------------------------------------------------


def _imported_from_beside(text: str, path: str, files: Files) -> list[str]:
    """The modules of the same folder that a file imports. Raises OwnEngineError for what no protocol may do."""
    try:
        tree = ast.parse(text, path)
    except SyntaxError as error:
        raise OwnEngineError(f"{path}:{error.lineno}: SyntaxError: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise OwnEngineError(f"{path} is no Python file: {error}") from None
    found: list[str] = []
    for node in ast.walk(tree):
        for line, what in _forbidden(node, path, files):
            raise OwnEngineError(f"{path}:{line}: {what}")
        if isinstance(node, ast.ImportFrom) and node.level:
            found += [node.module] if node.module else [alias.name for alias in node.names]
    return found


def _forbidden(node: ast.AST, path: str, files: Files) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            why = _wrong_module(alias.name, path, files)
            if why:
                yield node.lineno, why
    elif isinstance(node, ast.ImportFrom):
        why = _wrong_neighbour(node, path, files) if node.level else _wrong_module(node.module or "", path, files)
        if why:
            yield node.lineno, why
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in _NOT_TO_BE_CALLED:
        assert hasattr(builtins, node.id)
        yield node.lineno, f"uses {node.id}, which {_NOT_TO_BE_CALLED[node.id]}; {_PURE}"
    elif isinstance(node, ast.AsyncFunctionDef | ast.Await):
        yield node.lineno, f"is asynchronous; {_PURE}"


_PURE = "a protocol is told what came in and the time, and answers with effects"


def _wrong_module(module: str, path: str, files: Files) -> str:
    """Why a machine may not import it; empty: it may."""
    top = module.partition(".")[0]
    if module == _NODES or module.startswith(f"{_NODES}."):
        forbidden = module == _NODES or module.startswith(_NOT_FOR_MACHINES)
        return f"imports {module}, which is not for machines; {_PURE}" if forbidden else ""
    if top in ONLY_COMPUTES:
        return ""
    if files.has(str(PurePath(path).with_name(f"{top}.py"))):
        return f"imports {module}, which stands beside it; say so: from .{top} import .."
    if top in ("random", "secrets"):
        return f"imports {module}: a run is a function of its seed; draw() of {draw.__module__} gives bits by name"
    return f"imports {module}: no I/O, clocks or other packages in a protocol; {_PURE}"


def _wrong_neighbour(node: ast.ImportFrom, path: str, files: Files) -> str:
    names = [node.module] if node.module else [alias.name for alias in node.names]
    for name in names:
        if node.level > 1 or "." in name or not files.has(str(PurePath(path).with_name(f"{name}.py"))):
            dots = "." * node.level
            return f"imports {dots}{name}: there is no file {name}.py beside it; an engine is files of one folder"
    return ""
