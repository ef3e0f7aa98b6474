"""How netlink messages are written and read: headers, attributes, and the values that are sent.

Sources: Linux 6.12 include/uapi/linux/{netlink,rtnetlink}.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE = 1, 2, 3
NLM_F_REQUEST, NLM_F_ACK = 0x1, 0x4
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLM_F_DUMP = 0x300
NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR = 20
RTM_NEWNEIGH = 28
RTM_NEWQDISC, RTM_GETQDISC = 36, 38
RTM_NEWTFILTER, RTM_DELTFILTER = 44, 45

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MASTER, IFLA_PROTINFO = 1, 3, 10, 12
IFLA_LINKINFO, IFLA_NET_NS_PID, IFLA_GROUP, IFLA_NET_NS_FD = 18, 19, 27, 28
IFLA_EXT_MASK, IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES = 29, 31, 32
TCA_KIND, TCA_OPTIONS, TCA_STATS2 = 1, 2, 7
TC_H_ROOT, TC_H_CLSACT = 0xFFFFFFFF, 0xFFFFFFF1


TOGETHER = 64
"""How many messages go in one system call."""

_header = struct.Struct("IHHII").pack


class Request(NamedTuple):
    """One netlink message without its header, or several that differ in their bodies only.

    label: for error messages. ignore: an errno that is no error here. also: the bodies of the others, as long as the
    first, a multiple of four bytes.
    """

    kind: int
    flags: int
    body: bytes
    label: str
    ignore: int = 0
    also: tuple[bytes, ...] = ()


def message(kind: int, flags: int, sequence: int, body: bytes, also: tuple[bytes, ...] = ()) -> bytes:
    """A whole message, padded; those of ``also`` behind it, under the same sequence number."""
    header = _header(16 + len(body), kind, flags, sequence, 0)
    if also:
        return header + header.join((body, *also))
    return header + body + b"\0" * (-len(body) % 4)


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    return struct.pack("HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def ifinfo(index: int, flags: int = 0, change: int = 0, family: int = socket.AF_UNSPEC) -> bytes:
    """The header of a message about a NIC."""
    return struct.pack("BxHiII", family, 0, index, flags, change)


def tc_header(index: int, handle: int, parent: int, info: int = 0) -> bytes:
    """The header of a message about a queue or a filter."""
    return struct.pack("BxxxiIII", socket.AF_UNSPEC, index, handle, parent, info)


def mac_bytes(text: str) -> bytes:
    """The six bytes of an address."""
    return bytes.fromhex(text.replace(":", ""))


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Kind, sequence number and body of every message in what a socket has given."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind, _flags, sequence, _port = struct.unpack_from("IHHII", data, offset)
        yield kind, sequence, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes in a body behind its header, by kind."""
    found: dict[int, bytes] = {}
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("HH", data, offset)
        if length < 4:
            break
        found[kind & NLA_TYPE_MASK] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found
