"""What a fabric asks of the kernel: links, bridges, forwarding entries, queues and filters, each as a Request.

netem's 64-bit attributes (nanoseconds, a seed) are such as neither iproute2 6.1 nor pyroute2 0.9 sends.

Sources: Linux 6.12 include/uapi/linux/{rtnetlink,if_link,neighbour,pkt_sched,pkt_cls}.h, net/sched/sch_netem.c
(netem_change), drivers/net/veth.c (veth_newlink: the peer cannot be up at creation).
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from testbed.engines.live.netlink.codec import (
    IFLA_ADDRESS,
    IFLA_GROUP,
    IFLA_IFNAME,
    IFLA_LINKINFO,
    IFLA_MASTER,
    IFLA_NET_NS_FD,
    IFLA_NET_NS_PID,
    IFLA_NUM_RX_QUEUES,
    IFLA_NUM_TX_QUEUES,
    IFLA_PROTINFO,
    NLA_F_NESTED,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    RTM_DELLINK,
    RTM_DELTFILTER,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWQDISC,
    RTM_NEWTFILTER,
    RTM_SETLINK,
    TC_H_CLSACT,
    TC_H_ROOT,
    TCA_KIND,
    TCA_OPTIONS,
    TOGETHER,
    Request,
    attribute,
    ifinfo,
    mac_bytes,
    tc_header,
)

if TYPE_CHECKING:
    from testbed.topologies.netem import NetemParams  # not at run time: the launcher of every fabric imports this file

IFF_UP = 0x1
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 1, 2, 1
IFLA_VXLAN_ID, IFLA_VXLAN_GROUP, IFLA_VXLAN_LOCAL, IFLA_VXLAN_LEARNING, IFLA_VXLAN_PORT = 1, 2, 4, 7, 15
IFLA_BR_FORWARD_DELAY, IFLA_BR_STP_STATE, IFLA_BR_MCAST_SNOOPING = 1, 5, 23
IFLA_BRPORT_LEARNING, IFLA_BRPORT_UNICAST_FLOOD, IFLA_BRPORT_MCAST_FLOOD, IFLA_BRPORT_BCAST_FLOOD = 8, 9, 27, 30
IFA_ADDRESS, IFA_LOCAL = 1, 2
NDA_DST, NDA_LLADDR = 1, 2
NUD_NOARP, NUD_PERMANENT, NTF_MASTER = 0x40, 0x80, 0x4

NETEM_HANDLE, CLSACT_HANDLE = 0x1_0000, 0xFFFF_0000
CLSACT_RX, CLSACT_TX = 0xFFFFFFF2, 0xFFFFFFF3  # the hooks on arrival and before the qdisc
TCA_NETEM_CORR, TCA_NETEM_DELAY_DIST, TCA_NETEM_REORDER, TCA_NETEM_CORRUPT = 1, 2, 3, 4
TCA_NETEM_LOSS, TCA_NETEM_RATE, TCA_NETEM_RATE64 = 5, 6, 8
TCA_NETEM_LATENCY64, TCA_NETEM_JITTER64, TCA_NETEM_PRNG_SEED = 10, 11, 14
NETEM_LOSS_GE = 2
TCA_BPF_OPS_LEN, TCA_BPF_OPS, TCA_BPF_NAME, TCA_BPF_FLAGS = 4, 5, 7, 8
TCA_BPF_FLAG_ACT_DIRECT = 1
BPF_RET_K, BPF_LD_H_ABS, BPF_LD_W_ABS, BPF_JEQ_K = 0x06, 0x28, 0x20, 0x15
SOURCE_AT = 6  # of a frame's source address
TCA_MATCHALL_ACT, TCA_ACT_KIND, TCA_ACT_OPTIONS, TCA_GACT_PARMS = 2, 1, 2, 2
TC_ACT_UNSPEC = 0xFFFFFFFF  # as the next filter says
TC_ACT_STOLEN = 4  # drop, and tell the sender nothing: a silent NIC gives its program no error
ETH_P_ALL = 0x0003


class Home(NamedTuple):
    """Which network namespace an interface goes to: that of a process, or that behind a descriptor of ours.

    Neither: the socket's own.
    """

    pid: int = 0
    fd: int = -1


class VethEnd(NamedTuple):
    """One end of a veth pair to be made."""

    name: str
    mac: str
    ifindex: int
    home: Home = Home()
    master: int = 0


class Carrier(NamedTuple):
    """How a link to another machine is carried: VXLAN network, addresses of this machine and the other, UDP port."""

    network: int
    local: str
    remote: str
    port: int


# --- links, bridges, addresses ---------------------------------------------


def veth(dev: VethEnd, peer: VethEnd, group: int = 0) -> list[Request]:
    """A veth pair, each end made where it belongs, with the names, MACs and indexes given.

    ``dev`` comes up at once (and as a port of its master); ``peer`` can't (veth_newlink), nor have a master here.
    One queue per direction, so that order and delays do not depend on the number of CPUs.
    """
    end = ifinfo(peer.ifindex) + _end_attributes(peer, group)
    body = ifinfo(dev.ifindex, IFF_UP, IFF_UP) + _end_attributes(dev, group)
    if dev.master:
        body += attribute(IFLA_MASTER, struct.pack("I", dev.master))
    body += _link_info("veth", attribute(VETH_INFO_PEER, end))
    label = f"veth pair {dev.name} - {peer.name}"
    return [Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, label)]


def vxlan(end: VethEnd, carrier: Carrier, group: int = 0) -> Request:
    """One end of a link that is carried to another machine, made where it belongs; it is not up yet.

    Its carrying socket belongs to the network namespace of the socket that this is sent on, wherever the NIC itself is.
    """
    data = attribute(IFLA_VXLAN_ID, struct.pack("I", carrier.network))
    data += attribute(IFLA_VXLAN_LOCAL, socket.inet_aton(carrier.local))
    data += attribute(IFLA_VXLAN_GROUP, socket.inet_aton(carrier.remote))
    data += attribute(IFLA_VXLAN_PORT, struct.pack("!H", carrier.port)) + attribute(IFLA_VXLAN_LEARNING, b"\0")
    body = ifinfo(end.ifindex) + _end_attributes(end, group) + _link_info("vxlan", data)
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"carried link {end.name} to {carrier.remote}")


def bridge(name: str, index: int, group: int = 0) -> list[Request]:
    """A bridge, up, silent: no spanning tree, no snooping, ports forward at once."""
    options = attribute(IFLA_BR_STP_STATE, struct.pack("I", 0))
    options += attribute(IFLA_BR_FORWARD_DELAY, struct.pack("I", 0))
    options += attribute(IFLA_BR_MCAST_SNOOPING, struct.pack("B", 0))
    body = ifinfo(index, IFF_UP, IFF_UP) + attribute(IFLA_IFNAME, name.encode() + b"\0")
    body += attribute(IFLA_GROUP, struct.pack("I", group)) + _link_info("bridge", options)
    return [Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, f"bridge {name}")]


def enslave(index: int, master: int) -> Request:
    """Makes a NIC a port of a bridge and brings it up."""
    body = ifinfo(index, IFF_UP, IFF_UP) + attribute(IFLA_MASTER, struct.pack("I", master))
    return Request(RTM_NEWLINK, 0, body, f"port {index} of bridge {master}")


def static_port(index: int) -> Request:
    """A bridge port that neither learns nor is flooded to: only forwarding entries lead out of it."""
    flags = (IFLA_BRPORT_LEARNING, IFLA_BRPORT_UNICAST_FLOOD, IFLA_BRPORT_MCAST_FLOOD, IFLA_BRPORT_BCAST_FLOOD)
    off = b"".join(attribute(flag, b"\0") for flag in flags)
    body = ifinfo(index, family=socket.AF_BRIDGE) + attribute(IFLA_PROTINFO | NLA_F_NESTED, off)
    return Request(RTM_SETLINK, 0, body, f"flags of bridge port {index}")


def forwarding(ports: Mapping[str, int], entries: Mapping[str, str]) -> Iterator[Request]:
    """A bridge's static forwarding entries: frames for an address leave by an interface, whose index stands in
    ``ports``. They survive its going down. Large fabrics have a million: each part is packed once."""
    heads = {name: struct.pack("BxxxiHBB", socket.AF_BRIDGE, ports[name], NUD_NOARP, NTF_MASTER, 0) for name in ports}
    bodies: dict[str, list[bytes]] = {name: [] for name in ports}
    for mac, name in entries.items():
        bodies[name].append(heads[name] + _link_address(mac))
    for name, all_bodies in bodies.items():
        for start in range(0, len(all_bodies), TOGETHER):
            body, *also = all_bodies[start : start + TOGETHER]
            flags = NLM_F_CREATE | NLM_F_REPLACE
            yield Request(RTM_NEWNEIGH, flags, body, f"forwarding by {name}", also=tuple(also))


@lru_cache(maxsize=65_536)  # every host has one at least
def _link_address(mac: str) -> bytes:
    return attribute(NDA_LLADDR, mac_bytes(mac))


def neighbour(index: int, ip: str, mac: str) -> Request:
    """A permanent ARP entry."""
    body = struct.pack("BxxxiHBB", socket.AF_INET, index, NUD_PERMANENT, 0, 0)
    body += attribute(NDA_DST, socket.inet_aton(ip)) + attribute(NDA_LLADDR, mac_bytes(mac))
    return Request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body, f"ARP entry {ip} {mac}")


def address(index: int, ip: str, prefix: int) -> Request:
    """An IPv4 address."""
    raw = socket.inet_aton(ip)
    body = struct.pack("BBBBI", socket.AF_INET, prefix, 0, 0, index)
    body += attribute(IFA_LOCAL, raw) + attribute(IFA_ADDRESS, raw)
    return Request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, body, f"address {ip}/{prefix}")


def link_up(index: int) -> Request:
    """Brings a NIC up."""
    return Request(RTM_NEWLINK, 0, ifinfo(index, IFF_UP, IFF_UP), f"bringing NIC {index} up")


def link_down(index: int) -> Request:
    """Takes a NIC down: its queue is emptied, the veth peer loses its carrier."""
    return Request(RTM_NEWLINK, 0, ifinfo(index, 0, IFF_UP), f"taking NIC {index} down")


def set_mac(index: int, mac: str) -> Request:
    """Gives a NIC another address."""
    return Request(RTM_NEWLINK, 0, ifinfo(index) + attribute(IFLA_ADDRESS, mac_bytes(mac)), f"address of NIC {index}")


def delete(index: int) -> Request:
    """Deletes a NIC (both ends of a veth pair); fine when it is gone already."""
    return Request(RTM_DELLINK, 0, ifinfo(index), f"deleting NIC {index}", errno.ENODEV)


def delete_group(group: int) -> Request:
    """Deletes every NIC of a group at once: one wait for readers instead of one per NIC."""
    body = ifinfo(0) + attribute(IFLA_GROUP, struct.pack("I", group))
    return Request(RTM_DELLINK, 0, body, f"deleting NIC group {group}", errno.ENODEV)


# --- queues and filters ---------------------------------------------


def netem_add(index: int, params: NetemParams) -> Request:
    """Gives a NIC its netem as root qdisc."""
    return _netem(index, params, NLM_F_CREATE | NLM_F_REPLACE)


def netem_change(index: int, params: NetemParams) -> Request:
    """Changes a NIC's netem in place: what is queued stays queued, and so does a table when ``params`` has none (see
    testbed.topologies.netem.changed_params)."""
    return _netem(index, params, 0)


def drop_filter(index: int, hook: int, classifier: str, priority: int = 1, source: str = "") -> Request:
    """Silently drops every frame at a hook (CLSACT_TX: before the qdisc, CLSACT_RX: on arrival, before sockets bound to
    one protocol), or those from one source address. classifier: "bpf" (classic BPF, allowed in user namespaces) or
    "matchall" (with act_gact; for every frame only). priority: filters of a hook differ in it.
    """
    options = _bpf_drop(source) if classifier == "bpf" else _matchall_drop()
    body = tc_header(index, 0, hook, _filter_info(priority))
    body += attribute(TCA_KIND, classifier.encode() + b"\0") + attribute(TCA_OPTIONS | NLA_F_NESTED, options)
    return Request(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, body, f"{classifier} drop filter of NIC {index}")


def filter_hooks(index: int, optional: bool = False) -> Request:
    """Gives a NIC the hooks that drop_filter needs. BEFORE frames fly: attaching them empties the NIC's queue
    (qdisc_graft deactivates the device, also for hooks). optional: a kernel without them is fine.
    """
    body = tc_header(index, CLSACT_HANDLE, TC_H_CLSACT) + attribute(TCA_KIND, b"clsact\0")
    ignore = errno.ENOENT if optional else 0
    return Request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, body, f"filter hooks of NIC {index}", ignore)


def remove_filter(index: int, hook: int, priority: int = 1) -> Request:
    """Ends the drop_filter of this priority at a hook of a NIC; the hook stays."""
    header = tc_header(index, 0, hook, _filter_info(priority))
    return Request(RTM_DELTFILTER, 0, header, f"removing filter {priority} of NIC {index}")


def _filter_info(priority: int) -> int:
    return priority << 16 | socket.htons(ETH_P_ALL)


def _netem(index: int, params: NetemParams, flags: int) -> Request:
    options = struct.pack("IIIIII", 0, params.limit, params.loss, 0, params.duplicate, 0)
    options += attribute(TCA_NETEM_LATENCY64, struct.pack("q", params.latency_ns))
    options += attribute(TCA_NETEM_JITTER64, struct.pack("q", params.jitter_ns))
    # Everything is sent every time: netem_change keeps what is left out.
    options += attribute(TCA_NETEM_CORR, struct.pack("III", params.delay_corr, params.loss_corr, params.dup_corr))
    options += attribute(TCA_NETEM_REORDER, struct.pack("II", 0, 0))
    options += attribute(TCA_NETEM_CORRUPT, struct.pack("II", params.corrupt, params.corrupt_corr))
    rate = min(params.rate_bytes_per_s, 0xFFFFFFFF)
    options += attribute(TCA_NETEM_RATE, struct.pack("IiIi", rate, params.packet_overhead, 0, 0))
    if params.rate_bytes_per_s > rate:
        options += attribute(TCA_NETEM_RATE64, struct.pack("Q", params.rate_bytes_per_s))
    if params.gemodel is not None:
        model = attribute(NETEM_LOSS_GE, struct.pack("IIII", *params.gemodel))
        options += attribute(TCA_NETEM_LOSS | NLA_F_NESTED, model)
    if params.table is not None:
        options += attribute(TCA_NETEM_DELAY_DIST, struct.pack(f"{len(params.table)}h", *params.table))
    options += attribute(TCA_NETEM_PRNG_SEED, struct.pack("Q", params.seed))
    body = tc_header(index, NETEM_HANDLE, TC_H_ROOT) + attribute(TCA_KIND, b"netem\0") + attribute(TCA_OPTIONS, options)
    return Request(RTM_NEWQDISC, flags, body, f"netem of NIC {index}")


def _bpf_drop(source: str) -> bytes:
    """Drops all, or what comes from this address and leaves the rest to the next filter."""
    program = struct.pack("HBBI", BPF_RET_K, 0, 0, TC_ACT_STOLEN)
    if source:
        first, last = struct.unpack(">HI", mac_bytes(source))
        program = b"".join(
            (
                struct.pack("HBBI", BPF_LD_H_ABS, 0, 0, SOURCE_AT),
                struct.pack("HBBI", BPF_JEQ_K, 0, 3, first),
                struct.pack("HBBI", BPF_LD_W_ABS, 0, 0, SOURCE_AT + 2),
                struct.pack("HBBI", BPF_JEQ_K, 0, 1, last),
                program,
                struct.pack("HBBI", BPF_RET_K, 0, 0, TC_ACT_UNSPEC),
            )
        )
    return (
        attribute(TCA_BPF_OPS_LEN, struct.pack("H", len(program) // 8))
        + attribute(TCA_BPF_OPS, program)
        + attribute(TCA_BPF_NAME, b"mute\0")
        + attribute(TCA_BPF_FLAGS, struct.pack("I", TCA_BPF_FLAG_ACT_DIRECT))
    )


def _matchall_drop() -> bytes:
    parameters = attribute(TCA_GACT_PARMS, struct.pack("IIiii", 0, 0, TC_ACT_STOLEN, 0, 0))
    action = attribute(TCA_ACT_KIND, b"gact\0") + attribute(TCA_ACT_OPTIONS | NLA_F_NESTED, parameters)
    return attribute(TCA_MATCHALL_ACT | NLA_F_NESTED, attribute(1 | NLA_F_NESTED, action))


def _link_info(kind: str, data: bytes) -> bytes:
    info = attribute(IFLA_INFO_KIND, kind.encode() + b"\0") + attribute(IFLA_INFO_DATA | NLA_F_NESTED, data)
    return attribute(IFLA_LINKINFO | NLA_F_NESTED, info)


def _end_attributes(end: VethEnd, group: int) -> bytes:
    attributes = attribute(IFLA_IFNAME, end.name.encode() + b"\0") + attribute(IFLA_ADDRESS, mac_bytes(end.mac))
    attributes += attribute(IFLA_GROUP, struct.pack("I", group))
    attributes += attribute(IFLA_NUM_TX_QUEUES, struct.pack("I", 1))
    attributes += attribute(IFLA_NUM_RX_QUEUES, struct.pack("I", 1))
    if end.home.pid:
        attributes += attribute(IFLA_NET_NS_PID, struct.pack("I", end.home.pid))
    elif end.home.fd >= 0:
        attributes += attribute(IFLA_NET_NS_FD, struct.pack("I", end.home.fd))
    return attributes
