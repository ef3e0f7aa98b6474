"""Sockets that carry requests to the kernel, many in one system call, and read back its answers.

Inside the virtual-time guest every system call costs two ptrace switches, hence the batches.

Sources: Linux 6.12 include/uapi/linux/{netlink,rtnetlink,if_link,pkt_sched}.h, net/core/link_watch.c.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from testbed.engines.live.netlink.codec import (
    IFLA_EXT_MASK,
    IFLA_IFNAME,
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_NOOP,
    RTM_GETLINK,
    RTM_GETQDISC,
    TC_H_ROOT,
    TCA_KIND,
    TCA_STATS2,
    TOGETHER,
    Request,
    attribute,
    attributes,
    ifinfo,
    message,
    messages,
)

NLMSGERR_ATTR_MSG = 1
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11
RTEXT_FILTER_SKIP_STATS = 1 << 3
TCA_STATS_BASIC, TCA_STATS_QUEUE = 1, 3

CHUNK_BYTES = 48 * 1024  # what fits well into a netlink socket's default buffers; and so do the refusals of as many


class NetlinkError(OSError):
    """The kernel refused a request; ``request`` says which, ``strerror`` why."""

    def __init__(self, number: int, request: str, detail: str) -> None:
        super().__init__(number, f"{request}: {detail or os.strerror(number)}")
        self.request = request


class LinkState(NamedTuple):
    """A NIC as the kernel sees it. flags: IFF_*."""

    ifindex: int
    name: str
    flags: int


class QdiscStats(NamedTuple):
    """Counters of a root qdisc. drops counts netem's loss too: the kernel has one counter for both."""

    ifindex: int
    kind: str
    packets: int
    drops: int
    backlog: int


class Rtnl:
    """A NETLINK_ROUTE socket; it stays in the network namespace in which it was opened."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._sequence = 0
        self._pending: list[Request] = []

    @staticmethod
    def open_socket() -> socket.socket:
        """A socket in the current network namespace, with short acknowledgements that carry the kernel's reasons."""
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        sock.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        sock.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        return sock

    @classmethod
    def open(cls) -> Rtnl:
        """In the current network namespace."""
        return cls(cls.open_socket())

    def __enter__(self) -> Rtnl:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Requests still pending are forgotten."""
        self._sock.close()

    def fileno(self) -> int:
        """Of the socket."""
        return self._sock.fileno()

    def add(self, *requests: Request) -> None:
        """Queues requests for the next ``flush`` (or ``do``)."""
        self._pending += requests

    def do(self, *requests: Request) -> None:
        """Queues and flushes."""
        self.add(*requests)
        self.flush()

    def flush(self) -> None:
        """Sends what is pending, in order. Every request is tried; the first refusal is raised."""
        pending, self._pending = self._pending, []
        refusals = [refusal for chunk in _chunks(pending) for refusal in self._send(chunk)]
        if refusals:
            raise refusals[0]

    def _send(self, chunk: Sequence[Request]) -> list[NetlinkError]:
        first = self._sequence + 1
        self._sequence += len(chunk) + 1
        parts = [
            message(request.kind, request.flags | NLM_F_REQUEST, first + place, request.body, request.also)
            for place, request in enumerate(chunk)
        ]
        # Refusals are always answered; the acknowledgement of an empty message tells that all before have been handled.
        parts.append(message(NLMSG_NOOP, NLM_F_REQUEST | NLM_F_ACK, self._sequence, b""))
        self._sock.send(b"".join(parts))
        refusals: list[NetlinkError] = []
        while True:
            for kind, sequence, body in messages(self._sock.recv(1 << 17)):
                if kind != NLMSG_ERROR or not first <= sequence <= self._sequence:
                    continue
                if sequence == self._sequence:
                    return refusals
                request = chunk[sequence - first]
                number = -struct.unpack_from("i", body)[0]
                if number != request.ignore:
                    refusals.append(NetlinkError(number, request.label, _reason(body)))

    def links(self, indexes: Sequence[int]) -> list[LinkState]:
        """The state of NICs, carriers settled."""
        return [_link_state(answer) for answer in self._link_answers(indexes)]

    def settle_carriers(self, indexes: Sequence[int]) -> None:
        """Has the kernel finish its pending work on carriers: asking for a NIC's state does (linkwatch_sync_dev)."""
        for _answer in self._link_answers(indexes):
            pass

    def _link_answers(self, indexes: Sequence[int]) -> Iterator[bytes]:
        mask = attribute(IFLA_EXT_MASK, struct.pack("I", RTEXT_FILTER_SKIP_STATS))
        bodies = [ifinfo(index) + mask for index in indexes]
        for start in range(0, len(bodies), TOGETHER):
            yield from self._ask(RTM_GETLINK, bodies[start : start + TOGETHER])

    def qdiscs(self) -> list[QdiscStats]:
        """The root qdiscs of every NIC of this namespace."""
        body = struct.pack("BxxxiIII", socket.AF_UNSPEC, 0, 0, 0, 0)
        answers = self._ask(RTM_GETQDISC, [body], NLM_F_DUMP)
        return [stats for stats in map(_qdisc_stats, answers) if stats is not None]

    def _ask(self, kind: int, bodies: Sequence[bytes], flags: int = 0) -> list[bytes]:
        first = self._sequence + 1
        self._sequence += len(bodies)
        self._sock.send(
            b"".join(message(kind, NLM_F_REQUEST | flags, first + i, body) for i, body in enumerate(bodies))
        )
        answers: list[bytes] = []
        while True:
            for answer, sequence, body in messages(self._sock.recv(1 << 17)):
                if not first <= sequence <= self._sequence:
                    continue
                if answer == NLMSG_ERROR:
                    raise NetlinkError(-struct.unpack_from("i", body)[0], f"query {kind}", _reason(body))
                if answer == NLMSG_DONE:
                    return answers
                answers.append(body)
                if not flags & NLM_F_DUMP and len(answers) == len(bodies):
                    return answers


def missing_in_kernel(*requests: Request) -> str:
    """Why the kernel refuses one of ``requests``; empty when it does not.

    Asked in an empty throwaway network namespace (its only NIC, lo, has index 1) by a process of its own, so that the
    caller's namespaces stay as they are. A kernel with modules loads the one asked for.
    """
    from testbed.engines.live.syscalls import CLONE_NEWNET, CLONE_NEWUSER, unshare

    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            unshare(CLONE_NEWNET if os.geteuid() == 0 else CLONE_NEWUSER | CLONE_NEWNET)
            with Rtnl.open() as rtnl:
                rtnl.do(*requests)
        except OSError as error:
            os.write(write_end, str(error.strerror).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as answer:
        reason = answer.read().decode()
    os.waitpid(child, 0)
    return reason


def _chunks(requests: Sequence[Request]) -> Iterator[list[Request]]:
    chunk: list[Request] = []
    size = messages = 0
    for request in requests:
        more = 1 + len(request.also)
        if chunk and (size + len(request.body) > CHUNK_BYTES or messages + more > TOGETHER):
            yield chunk
            chunk, size, messages = [], 0, 0
        chunk.append(request)
        messages += more
        size += more * (len(request.body) + 20)
    if chunk:
        yield chunk


def _reason(body: bytes) -> str:
    """The kernel's own words, which follow the error number and the header of the refused message."""
    return attributes(body[20:]).get(NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode(errors="replace")


def _link_state(body: bytes) -> LinkState:
    _family, _type, index, flags, _change = struct.unpack_from("BxHiII", body)
    name = attributes(body[16:]).get(IFLA_IFNAME, b"").rstrip(b"\0").decode()
    return LinkState(index, name, flags)


def _qdisc_stats(body: bytes) -> QdiscStats | None:
    _family, index, _handle, parent, _info = struct.unpack_from("BxxxiIII", body)
    if parent != TC_H_ROOT:
        return None
    found = attributes(body[20:])
    stats = attributes(found.get(TCA_STATS2, b""))
    queue = stats.get(TCA_STATS_QUEUE, bytes(20))
    backlog, _bytes, drops, _requeues, _overlimits = struct.unpack_from("IIIII", queue)
    packets = struct.unpack_from("QI", stats.get(TCA_STATS_BASIC, bytes(12)))[1]
    return QdiscStats(index, found[TCA_KIND].rstrip(b"\0").decode(), packets, drops, backlog)
