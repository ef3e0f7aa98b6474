"""A fault in one line of text, as people write it down: to and from the mapping that stands for the same order.

    at 10ms partition host1,host2 | host3             when host2 enters REFLECTING: node_kill host2 for 5ms
    from 0s to 2s flap host3 every 50ms               at round 40 + 50us nic_down host1 for 2ms

    order  = when verb [operands] {option}
    when   = "at" instant | "from" instant ["to" instant] | "when" moment ":"
    instant = time | "round" number ["+" time]
    moment = host ("enters" state | "leaves" state | "sends" number | "writes" number)
             ["with" host] ["in" "round" number] ["after" time]
    operands = names                                  (of partition: names ("|" names)+, or names "->" names)
    option = "tx" | "rx" | key names | key value | key name=value,...    (the keys of the mapping: for, every, to, ...)

Names are separated by commas. What the words mean, and whether they make sense together, is the mapping's business
(testbed.scenario.model.FaultOrder): here nothing is known but where each of them stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from testbed.faults import VERBS
from testbed.scenario.document import resolve_scalar
from testbed.scenario.errors import suggestion

_TOKEN = re.compile(r"[|,]|[^\s|,]+")
_MOMENTS = {"enters": "enters", "leaves": "leaves", "sends": "after_sends", "writes": "after_writes"}
_DIRECTIONS = ("tx", "rx")
_LISTS = ("to", "links")
_APART = ("do", "on", "at", "from", "until", "when", "direction", "groups", "one_way")  # they have a place, and no key


class _Token(NamedTuple):
    text: str
    column: int


def parse_order(text: str, keys: Sequence[str]) -> dict[str, Any]:
    """The mapping that ``text`` stands for. keys: those that it may have. Raises ValueError, with the column."""
    return _Parser(text, keys).order()


def spell_order(order: Mapping[str, Any]) -> str:
    """The inverse of parse_order, of an order as plain data."""
    words = [_spell_when(order), str(order["do"])]
    if "groups" in order:
        words.append((" -> " if order.get("one_way") else " | ").join(",".join(group) for group in order["groups"]))
    if "on" in order:
        words.append(",".join(order["on"]))
    if "direction" in order:
        words.append(order["direction"])
    words += [f"{key} {_spell(value)}" for key, value in order.items() if key not in _APART]
    return " ".join(words)


def _spell_when(order: Mapping[str, Any]) -> str:
    if "at" in order:
        return f"at {order['at']}"
    if "when" not in order:
        return f"from {order['from']}" + (f" to {order['until']}" if "until" in order else "")
    moment = order["when"]
    word, key = next((word, key) for word, key in _MOMENTS.items() if moment.get(key) is not None)
    said = f"when {moment['node']} {word} {moment[key]}"
    said += f" with {moment['peer']}" if moment.get("peer") is not None else ""
    said += f" in round {moment['round']}" if moment.get("round") is not None else ""
    return said + (f" after {moment['after']}:" if moment.get("after") not in (None, 0, "0ns") else ":")


def _spell(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{key}={item}" for key, item in value.items())
    return ",".join(value) if isinstance(value, list | tuple) else str(value)


class _Parser:
    def __init__(self, text: str, keys: Sequence[str]) -> None:
        found = [_Token(match.group(), match.start() + 1) for match in _TOKEN.finditer(text)]
        self._tokens = [part for token in found for part in _colon_apart(token)]
        self._end = _Token("", len(text) + 1)
        self._options = [key for key in keys if key not in _APART]
        self._place = 0

    def order(self) -> dict[str, Any]:
        order = self._when()
        verb = self._word("a verb such as nic_down", VERBS)
        order["do"] = verb
        if verb == "partition":
            order |= self._groups()
        elif self._next.text and self._next.text not in (*self._options, *_DIRECTIONS):
            order["on"] = self._names("a host")
        while self._next.text:
            self._option(order)
        return order

    # -- when --------------------------------------------------------------------------------------------------------

    def _when(self) -> dict[str, Any]:
        begin = self._word("when it strikes", ("at", "from", "when"))
        if begin == "when":
            return {"when": self._moment()}
        order: dict[str, Any] = {begin: self._instant()}
        if begin == "from" and self._take_if("to"):
            order["until"] = self._instant()
        return order

    def _instant(self) -> str:
        text = self._word("an instant such as 10ms or round 17")
        if text == "round":
            text += " " + self._word("the round's number")
            if self._take_if("+"):
                text += " + " + self._word("a time such as 50us")
        return text

    def _moment(self) -> dict[str, Any]:
        moment: dict[str, Any] = {"node": self._word("the host whose moment it is")}
        key = _MOMENTS[self._word("what happens there", _MOMENTS)]
        moment[key] = self._scalar("a state, or a number")
        if self._take_if("with"):
            moment["peer"] = self._word("a host")
        if self._take_if("in"):
            self._word("round", ("round",))
            moment["round"] = self._scalar("the round's number")
        if self._take_if("after"):
            moment["after"] = self._scalar("a time such as 50us")
        self._word("':' behind the moment", (":",))
        return moment

    # -- what --------------------------------------------------------------------------------------------------------

    def _groups(self) -> dict[str, Any]:
        groups = [self._names("a host")]
        if self._take_if("->"):
            return {"groups": [*groups, self._names("a host")], "one_way": True}
        if self._next.text != "|":
            raise self._error("'|' or '->' and the hosts on the other side")
        while self._take_if("|"):
            groups.append(self._names("a host"))
        return {"groups": groups}

    def _option(self, order: dict[str, Any]) -> None:
        token = self._next
        if token.text in _DIRECTIONS:
            key, read = "direction", self._word_of_direction
        else:
            key = self._word("for, every or another setting", self._options)
            read = self._list if key in _LISTS else self._value
        if key in order:
            raise ValueError(f"column {token.column}: {key} stands twice; keep one of them")
        order[key] = read()

    def _word_of_direction(self) -> Any:
        return self._word("tx or rx")

    def _list(self) -> Any:
        return self._names("a name")

    def _value(self) -> Any:
        parts = self._names("a value")
        if all("=" in part for part in parts):
            return {key: resolve_scalar(value) for key, _, value in (part.partition("=") for part in parts)}
        return resolve_scalar(",".join(parts))

    # -- tokens ------------------------------------------------------------------------------------------------------

    @property
    def _next(self) -> _Token:
        return self._tokens[self._place] if self._place < len(self._tokens) else self._end

    def _take_if(self, text: str) -> bool:
        here = self._next.text == text
        self._place += here
        return here

    def _word(self, wanted: str, known: Sequence[str] | Mapping[str, Any] = ()) -> str:
        token = self._next
        marks = not known and token.text in ("|", ",", ":", "->")
        if not token.text or marks or (known and token.text not in known):
            raise self._error(wanted, known)
        self._place += 1
        return token.text

    def _scalar(self, wanted: str) -> Any:
        return resolve_scalar(self._word(wanted))

    def _names(self, wanted: str) -> list[str]:
        names = [self._word(wanted)]
        while self._take_if(","):
            names.append(self._word(wanted))
        return names

    def _error(self, wanted: str, known: Sequence[str] | Mapping[str, Any] = ()) -> ValueError:
        token = self._next
        here = f"not {token.text!r}" if token.text else "but the line ends"
        advice = f"; {suggestion(token.text, known)}" if len(known) > 1 else ""
        return ValueError(f"column {token.column}: here stands {wanted}, {here}{advice}")


def _colon_apart(token: _Token) -> list[_Token]:
    """The colon that ends a moment is a word of its own; one within a word (role:leaf) is not."""
    if token.text == ":" or not token.text.endswith(":"):
        return [token]
    return [_Token(token.text[:-1], token.column), _Token(":", token.column + len(token.text) - 1)]
