"""Links, bridges, forwarding entries, qdiscs and filters over rtnetlink: what a fabric needs, batched.

Requests are plain values made by functions (``veth``, ``bridge``, ``netem``...); an ``Rtnl`` is a socket in one network
namespace that carries many of them in one system call. Inside the virtual-time guest every system call costs two ptrace
switches and importing a general library costs more than bringing a small fabric up; hence no pyroute2 in here.
netem's 64-bit attributes (nanoseconds, a seed) are such as neither iproute2 6.1 nor pyroute2 0.9 sends.

Sources: Linux 6.12 include/uapi/linux/{netlink,rtnetlink,if_link,neighbour,pkt_sched,pkt_cls}.h, net/sched/sch_netem.c
(netem_change), drivers/net/veth.c (veth_newlink: the peer cannot be up at creation), net/core/link_watch.c.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from topologies.netem import NetemParams  # not at run time: the launcher of every fabric imports this file

NLM_F_REQUEST, NLM_F_ACK = 0x1, 0x4
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLM_F_DUMP = 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLMSGERR_ATTR_MSG = 1
NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR = 20
RTM_NEWNEIGH = 28
RTM_NEWQDISC, RTM_GETQDISC = 36, 38
RTM_NEWTFILTER, RTM_DELTFILTER = 44, 45

IFF_UP = 0x1
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MASTER, IFLA_PROTINFO = 1, 3, 10, 12
IFLA_OPERSTATE, IFLA_LINKINFO, IFLA_NET_NS_PID, IFLA_GROUP = 16, 18, 19, 27
IFLA_EXT_MASK, IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES = 29, 31, 32
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 1, 2, 1
RTEXT_FILTER_SKIP_STATS = 1 << 3
IFLA_BR_FORWARD_DELAY, IFLA_BR_STP_STATE, IFLA_BR_MCAST_SNOOPING = 1, 5, 23
IFLA_BRPORT_LEARNING, IFLA_BRPORT_UNICAST_FLOOD, IFLA_BRPORT_MCAST_FLOOD, IFLA_BRPORT_BCAST_FLOOD = 8, 9, 27, 30
IFA_ADDRESS, IFA_LOCAL = 1, 2
NDA_DST, NDA_LLADDR = 1, 2
NUD_NOARP, NUD_PERMANENT, NTF_MASTER = 0x40, 0x80, 0x4

TCA_KIND, TCA_OPTIONS, TCA_STATS2 = 1, 2, 7
TCA_STATS_BASIC, TCA_STATS_QUEUE = 1, 3
TC_H_ROOT, TC_H_CLSACT = 0xFFFFFFFF, 0xFFFFFFF1
NETEM_HANDLE, CLSACT_HANDLE = 0x1_0000, 0xFFFF_0000
CLSACT_RX, CLSACT_TX = 0xFFFFFFF2, 0xFFFFFFF3  # the hooks on arrival and before the qdisc
TCA_NETEM_CORR, TCA_NETEM_DELAY_DIST, TCA_NETEM_REORDER, TCA_NETEM_CORRUPT = 1, 2, 3, 4
TCA_NETEM_LOSS, TCA_NETEM_RATE, TCA_NETEM_RATE64 = 5, 6, 8
TCA_NETEM_LATENCY64, TCA_NETEM_JITTER64, TCA_NETEM_PRNG_SEED = 10, 11, 14
NETEM_LOSS_GE = 2
TCA_BPF_OPS_LEN, TCA_BPF_OPS, TCA_BPF_NAME, TCA_BPF_FLAGS = 4, 5, 7, 8
TCA_BPF_FLAG_ACT_DIRECT = 1
BPF_RET_K = 0x06
TCA_MATCHALL_ACT, TCA_ACT_KIND, TCA_ACT_OPTIONS, TCA_GACT_PARMS = 2, 1, 2, 2
TC_ACT_STOLEN = 4  # drop, and tell the sender nothing: a silent NIC gives its program no error
ETH_P_ALL = 0x0003

CHUNK_BYTES, CHUNK_REQUESTS = 48 * 1024, 64  # what fits well into a netlink socket's default buffers


class NetlinkError(OSError):
    """The kernel refused a request; ``request`` says which, ``strerror`` why."""

    def __init__(self, number: int, request: str, detail: str) -> None:
        super().__init__(number, f"{request}: {detail or os.strerror(number)}")
        self.request = request


class Request(NamedTuple):
    """One netlink message without its header. label: for error messages. ignore: an errno that is no error here."""

    kind: int
    flags: int
    body: bytes
    label: str
    ignore: int = 0


class VethEnd(NamedTuple):
    """One end of a veth pair to be made. pid: whose network namespace it goes to, 0 = the socket's own."""

    name: str
    mac: str
    ifindex: int
    pid: int = 0
    master: int = 0


class LinkState(NamedTuple):
    """A NIC as the kernel sees it. flags: IFF_*. operstate: 6 is up (RFC 2863)."""

    ifindex: int
    name: str
    flags: int
    operstate: int


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
        self._sequence += len(chunk)
        # Refusals are always answered; one acknowledgement, for the last, tells that all have been handled.
        flags = [NLM_F_REQUEST] * (len(chunk) - 1) + [NLM_F_REQUEST | NLM_F_ACK]
        message = b"".join(
            _message(request.kind, request.flags | flag, first + place, request.body)
            for place, (request, flag) in enumerate(zip(chunk, flags, strict=True))
        )
        self._sock.send(message)
        refusals: list[NetlinkError] = []
        while True:
            for kind, sequence, body in _messages(self._sock.recv(1 << 17)):
                if kind != NLMSG_ERROR or not first <= sequence <= self._sequence:
                    continue
                request = chunk[sequence - first]
                number = -struct.unpack_from("i", body)[0]
                if number and number != request.ignore:
                    refusals.append(NetlinkError(number, request.label, _reason(body)))
                if sequence == self._sequence:
                    return refusals

    def links(self, indexes: Sequence[int]) -> list[LinkState]:
        """The state of NICs, carriers settled."""
        return [_link_state(answer) for answer in self._link_answers(indexes)]

    def settle_carriers(self, indexes: Sequence[int]) -> None:
        """Has the kernel finish its pending work on carriers: asking for a NIC's state does (linkwatch_sync_dev)."""
        for _answer in self._link_answers(indexes):
            pass

    def _link_answers(self, indexes: Sequence[int]) -> Iterator[bytes]:
        mask = _attribute(IFLA_EXT_MASK, struct.pack("I", RTEXT_FILTER_SKIP_STATS))
        bodies = [_ifinfo(index) + mask for index in indexes]
        for start in range(0, len(bodies), CHUNK_REQUESTS):
            yield from self._ask(RTM_GETLINK, bodies[start : start + CHUNK_REQUESTS])

    def qdiscs(self) -> list[QdiscStats]:
        """The root qdiscs of every NIC of this namespace."""
        body = struct.pack("BxxxiIII", socket.AF_UNSPEC, 0, 0, 0, 0)
        answers = self._ask(RTM_GETQDISC, [body], NLM_F_DUMP)
        return [stats for stats in map(_qdisc_stats, answers) if stats is not None]

    def _ask(self, kind: int, bodies: Sequence[bytes], flags: int = 0) -> list[bytes]:
        first = self._sequence + 1
        self._sequence += len(bodies)
        self._sock.send(
            b"".join(_message(kind, NLM_F_REQUEST | flags, first + i, body) for i, body in enumerate(bodies))
        )
        answers: list[bytes] = []
        while True:
            for answer, sequence, body in _messages(self._sock.recv(1 << 17)):
                if not first <= sequence <= self._sequence:
                    continue
                if answer == NLMSG_ERROR:
                    raise NetlinkError(-struct.unpack_from("i", body)[0], f"query {kind}", _reason(body))
                if answer == NLMSG_DONE:
                    return answers
                answers.append(body)
                if not flags & NLM_F_DUMP and len(answers) == len(bodies):
                    return answers


# --- links, bridges, addresses ---------------------------------------------


def veth(dev: VethEnd, peer: VethEnd, group: int = 0) -> list[Request]:
    """A veth pair, each end made where it belongs, with the names, MACs and indexes given.

    ``dev`` comes up at once (and as a port of its master); ``peer`` can't (veth_newlink), nor have a master here.
    One queue per direction, so that order and delays do not depend on the number of CPUs.
    """
    end = _ifinfo(peer.ifindex) + _end_attributes(peer, group)
    body = _ifinfo(dev.ifindex, IFF_UP, IFF_UP) + _end_attributes(dev, group)
    if dev.master:
        body += _attribute(IFLA_MASTER, struct.pack("I", dev.master))
    body += _link_info("veth", _attribute(VETH_INFO_PEER, end))
    label = f"veth pair {dev.name} - {peer.name}"
    return [Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, label)]


def bridge(name: str, index: int, group: int = 0) -> list[Request]:
    """A bridge, up, silent: no spanning tree, no snooping, ports forward at once."""
    options = _attribute(IFLA_BR_STP_STATE, struct.pack("I", 0))
    options += _attribute(IFLA_BR_FORWARD_DELAY, struct.pack("I", 0))
    options += _attribute(IFLA_BR_MCAST_SNOOPING, struct.pack("B", 0))
    body = _ifinfo(index, IFF_UP, IFF_UP) + _attribute(IFLA_IFNAME, name.encode() + b"\0")
    body += _attribute(IFLA_GROUP, struct.pack("I", group)) + _link_info("bridge", options)
    return [Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"bridge {name}")]


def enslave(index: int, master: int) -> Request:
    """Makes a NIC a port of a bridge and brings it up."""
    body = _ifinfo(index, IFF_UP, IFF_UP) + _attribute(IFLA_MASTER, struct.pack("I", master))
    return Request(RTM_NEWLINK, 0, body, f"port {index} of bridge {master}")


def static_port(index: int) -> Request:
    """A bridge port that neither learns nor is flooded to: only forwarding entries lead out of it."""
    flags = (IFLA_BRPORT_LEARNING, IFLA_BRPORT_UNICAST_FLOOD, IFLA_BRPORT_MCAST_FLOOD, IFLA_BRPORT_BCAST_FLOOD)
    off = b"".join(_attribute(flag, b"\0") for flag in flags)
    body = _ifinfo(index, family=socket.AF_BRIDGE) + _attribute(IFLA_PROTINFO | NLA_F_NESTED, off)
    return Request(RTM_SETLINK, 0, body, f"flags of bridge port {index}")


def forward(index: int, mac: str) -> Request:
    """A static forwarding entry: frames for ``mac`` leave by port ``index``. Survives the port's going down."""
    body = struct.pack("BxxxiHBB", socket.AF_BRIDGE, index, NUD_NOARP, NTF_MASTER, 0)
    body += _attribute(NDA_LLADDR, _mac(mac))
    return Request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body, f"forwarding of {mac} by port {index}")


def neighbour(index: int, ip: str, mac: str) -> Request:
    """A permanent ARP entry."""
    body = struct.pack("BxxxiHBB", socket.AF_INET, index, NUD_PERMANENT, 0, 0)
    body += _attribute(NDA_DST, socket.inet_aton(ip)) + _attribute(NDA_LLADDR, _mac(mac))
    return Request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body, f"ARP entry {ip} {mac}")


def address(index: int, ip: str, prefix: int) -> Request:
    """An IPv4 address."""
    raw = socket.inet_aton(ip)
    body = struct.pack("BBBBI", socket.AF_INET, prefix, 0, 0, index)
    body += _attribute(IFA_LOCAL, raw) + _attribute(IFA_ADDRESS, raw)
    return Request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, body, f"address {ip}/{prefix}")


def link_up(index: int) -> Request:
    """Brings a NIC up."""
    return Request(RTM_NEWLINK, 0, _ifinfo(index, IFF_UP, IFF_UP), f"bringing NIC {index} up")


def link_down(index: int) -> Request:
    """Takes a NIC down: its queue is emptied, the veth peer loses its carrier."""
    return Request(RTM_NEWLINK, 0, _ifinfo(index, 0, IFF_UP), f"taking NIC {index} down")


def set_mac(index: int, mac: str) -> Request:
    """Gives a NIC another address."""
    return Request(RTM_NEWLINK, 0, _ifinfo(index) + _attribute(IFLA_ADDRESS, _mac(mac)), f"address of NIC {index}")


def delete(index: int) -> Request:
    """Deletes a NIC (both ends of a veth pair); fine when it is gone already."""
    return Request(RTM_DELLINK, 0, _ifinfo(index), f"deleting NIC {index}", errno.ENODEV)


def delete_group(group: int) -> Request:
    """Deletes every NIC of a group at once: one wait for readers instead of one per NIC."""
    body = _ifinfo(0) + _attribute(IFLA_GROUP, struct.pack("I", group))
    return Request(RTM_DELLINK, 0, body, f"deleting NIC group {group}", errno.ENODEV)


# --- queues and filters ---------------------------------------------


def netem_add(index: int, params: NetemParams) -> Request:
    """Gives a NIC its netem as root qdisc."""
    return _netem(index, params, NLM_F_CREATE | NLM_F_REPLACE)


def netem_change(index: int, params: NetemParams) -> Request:
    """Changes a NIC's netem in place: what is queued stays queued, and so does a table when ``params`` has none (see
    topologies.netem.changed_params)."""
    return _netem(index, params, 0)


def drop_filter(index: int, hook: int, classifier: str) -> Request:
    """Silently drops every frame at a hook (CLSACT_TX: before the qdisc, CLSACT_RX: on arrival, before sockets bound to
    one protocol). classifier: "bpf" (classic BPF, allowed in user namespaces) or "matchall" (with act_gact).
    """
    options = _bpf_drop() if classifier == "bpf" else _matchall_drop()
    body = _tc(index, 0, hook, (1 << 16) | socket.htons(ETH_P_ALL))
    body += _attribute(TCA_KIND, classifier.encode() + b"\0") + _attribute(TCA_OPTIONS | NLA_F_NESTED, options)
    return Request(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, body, f"{classifier} drop filter of NIC {index}")


def filter_hooks(index: int, optional: bool = False) -> Request:
    """Gives a NIC the hooks that drop_filter needs. BEFORE frames fly: attaching them empties the NIC's queue
    (qdisc_graft deactivates the device, also for hooks). optional: a kernel without them is fine.
    """
    body = _tc(index, CLSACT_HANDLE, TC_H_CLSACT) + _attribute(TCA_KIND, b"clsact\0")
    ignore = errno.ENOENT if optional else 0
    return Request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, body, f"filter hooks of NIC {index}", ignore)


def remove_filters(index: int, hook: int) -> Request:
    """Ends every drop_filter at a hook of a NIC; the hook stays."""
    return Request(RTM_DELTFILTER, 0, _tc(index, 0, hook), f"removing the filters of NIC {index}")


def _netem(index: int, params: NetemParams, flags: int) -> Request:
    options = struct.pack("IIIIII", 0, params.limit, params.loss, 0, params.duplicate, 0)
    options += _attribute(TCA_NETEM_LATENCY64, struct.pack("q", params.latency_ns))
    options += _attribute(TCA_NETEM_JITTER64, struct.pack("q", params.jitter_ns))
    # Everything is sent every time: netem_change keeps what is left out.
    options += _attribute(TCA_NETEM_CORR, struct.pack("III", params.delay_corr, params.loss_corr, params.dup_corr))
    options += _attribute(TCA_NETEM_REORDER, struct.pack("II", 0, 0))
    options += _attribute(TCA_NETEM_CORRUPT, struct.pack("II", params.corrupt, params.corrupt_corr))
    rate = min(params.rate_bytes_per_s, 0xFFFFFFFF)
    options += _attribute(TCA_NETEM_RATE, struct.pack("IiIi", rate, params.packet_overhead, 0, 0))
    if params.rate_bytes_per_s > rate:
        options += _attribute(TCA_NETEM_RATE64, struct.pack("Q", params.rate_bytes_per_s))
    if params.gemodel is not None:
        model = _attribute(NETEM_LOSS_GE, struct.pack("IIII", *params.gemodel))
        options += _attribute(TCA_NETEM_LOSS | NLA_F_NESTED, model)
    if params.table is not None:
        options += _attribute(TCA_NETEM_DELAY_DIST, struct.pack(f"{len(params.table)}h", *params.table))
    options += _attribute(TCA_NETEM_PRNG_SEED, struct.pack("Q", params.seed))
    body = _tc(index, NETEM_HANDLE, TC_H_ROOT) + _attribute(TCA_KIND, b"netem\0") + _attribute(TCA_OPTIONS, options)
    return Request(RTM_NEWQDISC, flags, body, f"netem of NIC {index}")


def _bpf_drop() -> bytes:
    program = struct.pack("HBBI", BPF_RET_K, 0, 0, TC_ACT_STOLEN)
    return (
        _attribute(TCA_BPF_OPS_LEN, struct.pack("H", 1))
        + _attribute(TCA_BPF_OPS, program)
        + _attribute(TCA_BPF_NAME, b"mute\0")
        + _attribute(TCA_BPF_FLAGS, struct.pack("I", TCA_BPF_FLAG_ACT_DIRECT))
    )


def _matchall_drop() -> bytes:
    parameters = _attribute(TCA_GACT_PARMS, struct.pack("IIiii", 0, 0, TC_ACT_STOLEN, 0, 0))
    action = _attribute(TCA_ACT_KIND, b"gact\0") + _attribute(TCA_ACT_OPTIONS | NLA_F_NESTED, parameters)
    return _attribute(TCA_MATCHALL_ACT | NLA_F_NESTED, _attribute(1 | NLA_F_NESTED, action))


# --- what the kernel offers ---------------------------------------------


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


# --- encoding ---------------------------------------------


def _message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return struct.pack("IHHII", 16 + len(body), kind, flags, sequence, 0) + body + b"\0" * (-len(body) % 4)


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _ifinfo(index: int, flags: int = 0, change: int = 0, family: int = socket.AF_UNSPEC) -> bytes:
    return struct.pack("BxHiII", family, 0, index, flags, change)


def _tc(index: int, handle: int, parent: int, info: int = 0) -> bytes:
    return struct.pack("BxxxiIII", socket.AF_UNSPEC, index, handle, parent, info)


def _link_info(kind: str, data: bytes) -> bytes:
    info = _attribute(IFLA_INFO_KIND, kind.encode() + b"\0") + _attribute(IFLA_INFO_DATA | NLA_F_NESTED, data)
    return _attribute(IFLA_LINKINFO | NLA_F_NESTED, info)


def _end_attributes(end: VethEnd, group: int) -> bytes:
    attributes = _attribute(IFLA_IFNAME, end.name.encode() + b"\0") + _attribute(IFLA_ADDRESS, _mac(end.mac))
    attributes += _attribute(IFLA_GROUP, struct.pack("I", group))
    attributes += _attribute(IFLA_NUM_TX_QUEUES, struct.pack("I", 1))
    attributes += _attribute(IFLA_NUM_RX_QUEUES, struct.pack("I", 1))
    if end.pid:
        attributes += _attribute(IFLA_NET_NS_PID, struct.pack("I", end.pid))
    return attributes


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _chunks(requests: Sequence[Request]) -> Iterator[list[Request]]:
    chunk: list[Request] = []
    size = 0
    for request in requests:
        if chunk and (size + len(request.body) > CHUNK_BYTES or len(chunk) == CHUNK_REQUESTS):
            yield chunk
            chunk, size = [], 0
        chunk.append(request)
        size += len(request.body) + 20
    if chunk:
        yield chunk


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    offset = 0
    while offset + 16 <= len(data):
        length, kind, _flags, sequence, _port = struct.unpack_from("IHHII", data, offset)
        yield kind, sequence, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("HH", data, offset)
        if length < 4:
            break
        found[kind & NLA_TYPE_MASK] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def _reason(body: bytes) -> str:
    """The kernel's own words, which follow the error number and the header of the refused message."""
    return _attributes(body[20:]).get(NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode(errors="replace")


def _link_state(body: bytes) -> LinkState:
    _family, _type, index, flags, _change = struct.unpack_from("BxHiII", body)
    attributes = _attributes(body[16:])
    name = attributes.get(IFLA_IFNAME, b"").rstrip(b"\0").decode()
    return LinkState(index, name, flags, attributes.get(IFLA_OPERSTATE, b"\0")[0])


def _qdisc_stats(body: bytes) -> QdiscStats | None:
    _family, index, _handle, parent, _info = struct.unpack_from("BxxxiIII", body)
    if parent != TC_H_ROOT:
        return None
    attributes = _attributes(body[20:])
    stats = _attributes(attributes.get(TCA_STATS2, b""))
    queue = stats.get(TCA_STATS_QUEUE, bytes(20))
    backlog, _bytes, drops, _requeues, _overlimits = struct.unpack_from("IIIII", queue)
    packets = struct.unpack_from("QI", stats.get(TCA_STATS_BASIC, bytes(12)))[1]
    return QdiscStats(index, attributes[TCA_KIND].rstrip(b"\0").decode(), packets, drops, backlog)
