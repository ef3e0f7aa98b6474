"""What the columns of each kind of event mean (testbed.nodes.core.record makes them)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Meaning(NamedTuple):
    """Of one column. unit: empty where it has none."""

    meaning: str
    unit: str = ""


_FRAME = {
    "key_src": Meaning("number of the node that sent the frame"),
    "key_epoch": Meaning("in which life of its own it did, from 1"),
    "key_seq": Meaning("the frame's number among those of that life"),
}
_ROUND = {"round": Meaning("the round, or instance, that the frame is about")}
_STEP = {"step": Meaning("which message of the handshake it carries, or the engine's own type of message")}
_TO = {"dst": Meaning("number of the node that it is for")}
_AT = {"at_ns": Meaning("the stamp of its arrival at the NIC", "ns")}
_SWAP = {
    "swap_round": Meaning("the round of the swap"),
    "swap_low": Meaning("number of the end with the lower number"),
    "swap_high": Meaning("number of the other end"),
}
_INSTANCE = {"instance": Meaning("the instance of consensus, or the entry of the log")}

FIRST: Mapping[str, Meaning] = {
    "order": Meaning("the event's place among all events of the run"),
    "t_ns": Meaning("when, on the run's clock, whose zero is the start of round 0", "ns"),
    "node": Meaning("name of the node; null: none"),
}
"""The columns with which every kind begins."""

EVENTS: Mapping[str, tuple[str, Mapping[str, Meaning]]] = {
    "started": (
        "a node came up",
        {
            "kept": Meaning("whether it has the state of its last life"),
            "told_ns": Meaning("the time that its machine was told", "ns"),
        },
    ),
    "died": ("a node's life ended", {"why": Meaning("killed (by a fault), or disk full")}),
    "sent": (
        "a frame was handed to the NIC",
        {
            **_FRAME,
            **_TO,
            **_ROUND,
            **_STEP,
            "size": Meaning("its length where software sees it", "bytes"),
            "ends": Meaning("of a swap that cells carry: low * 65536 + high, the numbers of its ends; else -1"),
        },
    ),
    "received": ("a frame was handed to the machine", {**_FRAME, **_ROUND, **_STEP, **_AT}),
    "dropped": (
        "a frame arrived that was not for the machine",
        {
            "why": Meaning("what was the matter with it; foreign: it was for, or from, somebody else"),
            **_FRAME,
            **_ROUND,
            **_STEP,
            **_AT,
        },
    ),
    "refused": (
        "the operating system refused to send a frame",
        {"why": Meaning("the error's name, as ENOBUFS"), **_FRAME, **_TO, **_ROUND, **_STEP},
    ),
    "overrun": (
        "a NIC's ring was full and lost frames",
        {"frames": Meaning("how many"), "at_ns": Meaning("the stamp of the first frame after them", "ns")},
    ),
    "timer_fired": (
        "a timer fired",
        {"name": Meaning("which one"), "due_ns": Meaning("when it was due; t_ns less this is its lag", "ns")},
    ),
    "struck": (
        "a fault struck; the node is its target, if it has one",
        {"fault": Meaning("its number in the plan's list"), "verb": Meaning("the plan's verb")},
    ),
    "noted": (
        "a machine noted something",
        {
            "what": Meaning("what kind of thing"),
            **_ROUND,
            "text": Meaning("in words"),
            **_FRAME,
            **_STEP,
        },
    ),
    "lied": (
        "a lie was told, in place of a message or behind it",
        {"kind": Meaning("which kind of lie"), **_TO, **_ROUND, **_STEP},
    ),
    "transition": (
        "an end of a swap came into another state",
        {**_SWAP, "old": Meaning("the state that it left"), "new": Meaning("the state that it entered")},
    ),
    "resolve": (
        "an end of a swap ended",
        {
            **_SWAP,
            "outcome": Meaning("committed, aborted or in_doubt"),
            "value": Meaning("the peer's value when committed, its own otherwise"),
        },
    ),
    "propose": ("a node proposed, or submitted, a value", {**_INSTANCE, "value": Meaning("the value, as bytes")}),
    "decide": (
        "a node decided, or delivered, a value",
        {
            **_INSTANCE,
            "value": Meaning("the value, as bytes"),
            "round": Meaning("the round that led to it; of a log the term, ballot or view of whoever brought it there"),
        },
    ),
    "round_start": (
        "a round began at a node",
        {"round": Meaning("the round"), "offered": Meaning("what it offers in the round's swaps, as bytes")},
    ),
    "apply": (
        "a replica of a service applied an entry",
        {"entry": Meaning("its number in the replica's log"), "value": Meaning("the entry, as bytes")},
    ),
    "invoke": (
        "a client asked for something",
        {"operation": Meaning("its number, which no other of the run has"), "call": Meaning("the command, as bytes")},
    ),
    "return": (
        "an operation of a client was over",
        {"operation": Meaning("its number"), "result": Meaning("what the client was told, as bytes")},
    ),
    "install": (
        "a holder of a log took on a state in place of entries that it lacks",
        {"below": Meaning("the entries below this one"), "state": Meaning("the state, as bytes")},
    ),
}
"""Each kind of event: what has happened, and its own columns in order."""

HOPS: Mapping[str, Meaning] = {
    "t_ns": Meaning("when, on the run's clock", "ns"),
    "node": Meaning("name of the node whose interface it is"),
    "nic": Meaning("name of the interface"),
    "what": Meaning("what happened to the frame there"),
    "key_src": Meaning("number of the node that sent the frame"),
    "key_epoch": Meaning("in which life of its own it did, from 1"),
    "key_seq": Meaning("the frame's number among those of that life"),
    "dst": Meaning("number of the node that it is for"),
    "round": Meaning("the round, or instance, that it is about"),
    "step": Meaning("which message of the handshake it carries, or the engine's own type of message"),
    "corrupt": Meaning("whether it was hurt by then"),
}
"""The columns of the hops of frames."""
