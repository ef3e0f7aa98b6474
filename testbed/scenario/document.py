"""YAML to plain data that remembers its lines.

Scalars are read by the core schema of YAML 1.2: ``on``, ``yes`` and ``12:30`` are plain text, not a truth value or a
number, so that ``on: host3`` works as a key. Keys are text, and a key may stand only once in a mapping.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from testbed.scenario.errors import Path, ScenarioError, shown, spell_path

_INT = re.compile(r"[-+]?[0-9]{1,30}|0x[0-9a-fA-F]{1,16}|0o[0-7]{1,20}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,30}|[0-9]{1,30}(\.[0-9]{0,30})?)([eE][-+]?[0-9]{1,3})?")
_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "true": True, "false": False}
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")}
_IMPLICIT_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("timestamp", "value", "merge")}
_DEEPEST = 40
_MOST_VALUES = 100_000


@dataclass(frozen=True)
class Document:
    """data: mappings, lists, text, numbers. lines: where each key or list item stands (1-based). source: its name.
    files: the texts of files that it names, by their paths, as far as they have been read: what is made of the document
    anew, here or on another machine, is made of the same texts."""

    data: Any
    source: str
    lines: dict[Path, int] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def where(self, path: Path) -> str:
        """``file:line`` of the nearest thing above or at ``path`` that stands in the document."""
        for length in range(len(path), -1, -1):
            line = self.lines.get(path[:length])
            if line is not None:
                return f"{self.source}:{line}"
        return self.source

    def below(self, key: str) -> Document:
        """What stands under ``key`` as a document of its own, with its lines."""
        lines = {path[1:]: line for path, line in self.lines.items() if path[:1] == (key,)}
        return Document(copy.deepcopy(self.data[key]), self.source, lines, self.files)

    def problem(self, path: Path, what: str) -> str:
        """One line about the value at ``path``."""
        spelled = spell_path(path)
        return f"{self.where(path)}: {spelled}: {what}" if spelled else f"{self.where(path)}: {what}"


def read_document(text: str, source: str) -> Document:
    """Reads one YAML document. Raises ScenarioError for anything that is not one."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        context = f" {error.context}" if error.context else ""
        raise ScenarioError(f"{source}:{line}: this is not YAML: {error.problem or 'broken'}{context}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ScenarioError(f"{source}:1: this is not YAML: {error}") from None
    except RecursionError:
        raise ScenarioError(f"{source}:1: nested too deeply; {_DEEPEST} levels are the most") from None
    if node is None:
        raise ScenarioError(f"{source}:1: the document is empty; `testbed scenarios` names some to begin with")
    reader = _Reader(source)
    return Document(reader.value(node, ()), source, reader.lines)


def story(document: Document) -> str:
    """The first sentence of its description, without the full stop."""
    text = " ".join(str(document.data.get("description", document.data.get("about", ""))).split())
    return re.split(r"\.(?: |$)", text, maxsplit=1)[0]


def resolve_scalar(text: str) -> Any:
    """What an unquoted scalar means (YAML 1.2 core): null, a truth value, a number, else text."""
    if text in _WORDS or text.lower() in ("null", "true", "false"):
        return _WORDS[text.lower()]
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def flow(value: Any) -> str:
    """A value as YAML on one line, as people write it here."""
    text = yaml.dump(value, Dumper=_Plain, default_flow_style=True, allow_unicode=True, width=10**6, sort_keys=False)
    return text.strip().removesuffix("...").strip()


_BOOL_TAG = "tag:yaml.org,2002:bool"


class _Plain(yaml.SafeDumper):
    """Reads as people write it here: no anchors, and `on` is no truth value."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as in its parent
        first: [(tag, form) for tag, form in forms if tag != _BOOL_TAG]
        for first, forms in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - whatever it is
        """Never."""
        return True


_Plain.add_implicit_resolver(_BOOL_TAG, re.compile(r"true|false"), list("tf"))


class _Loader(yaml.SafeLoader):
    """Stops at too deep a nesting while reading: PyYAML's scanner takes quadratic time in it."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """As in yaml.composer, counting how deep it is."""
        self.depth += 1
        if self.depth > _DEEPEST + 1:
            raise RecursionError
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Reader:
    def __init__(self, source: str) -> None:
        self.source = source
        self.lines: dict[Path, int] = {}
        self._values = 0

    def value(self, node: yaml.Node, path: Path) -> Any:
        """The value of a node; remembers the line of everything in it."""
        self._values += 1
        if len(path) > _DEEPEST:
            raise self._error(node, path[:3], f"nested too deeply; {_DEEPEST} levels are the most")
        if self._values > _MOST_VALUES:
            raise self._error(node, path, f"more than {_MOST_VALUES} values; this is no scenario")
        if node.tag not in _PLAIN_TAGS and node.tag not in _IMPLICIT_TAGS:
            raise self._error(node, path, f"the tag {node.tag} is not used here; leave it away")
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, place)) for place, item in enumerate(node.value)]
        plain = isinstance(node, yaml.ScalarNode) and node.style is None
        return resolve_scalar(node.value) if plain else node.value

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error(key_node, path, "a key must be text, not a list or a mapping")
            key = str(key_node.value)
            below = (*path, key)
            if key in found:
                first = self.lines[below]
                raise self._error(key_node, below, f"stands twice, first in line {first}; keep one of them")
            self.lines[below] = key_node.start_mark.line + 1
            found[key] = self.value(value_node, below)
        return found

    def _error(self, node: yaml.Node, path: Path, what: str) -> ScenarioError:
        spelled = f" {shown(spell_path(path))[1:-1]}:" if path else ""
        return ScenarioError(f"{self.source}:{node.start_mark.line + 1}:{spelled} {what}")
