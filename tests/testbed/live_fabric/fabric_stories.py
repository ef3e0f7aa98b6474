"""What the tests of the live fabric do inside namespaces of its own: ``python fabric_stories.py <story>``.

Each story asserts for itself; it runs as root, as an ordinary user, and in the guest of the virtual-time kernel.
"""

from __future__ import annotations

import mmap
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from mininet.net import Mininet

from testbed.engines.base import EngineUnavailable
from testbed.engines.live import isolation, syscalls
from testbed.engines.live.fabric_net import FabricNet, Interface
from testbed.engines.live.holder import Holder
from testbed.engines.live.mininet_fabric import MininetFabric
from testbed.engines.live.mininet_nodes import HeldHost, ImpairedLink, StaticBridge
from testbed.engines.live.netlink import codec, requests, rtnl
from testbed.engines.live.owner import Exit, OwnerError
from testbed.topologies.build import make_fabric
from testbed.topologies.fabric import Fabric
from testbed.topologies.impairment import Impairment
from testbed.topologies.leaf_spine import LeafSpine

ETHERTYPE = 0x88B5
IFF_LOWER_UP = 0x10000  # carrier (uapi/linux/if.h)
SHARED = mmap.mmap(-1, 4096)
KERNEL_THREADS = Path("/proc/2/comm").read_text() == "kthreadd\n"  # in the guest
INTERFACES = {name for _, name in socket.if_nameindex()}  # lo; in the guest also what its kernel makes by itself
PAIR = make_fabric("pair")
STAR = make_fabric("star", {"hosts": 3})
LOOPS = make_fabric("leaf_spine", {"spines": 2, "leaves": 2, "hosts_per_leaf": 2})
FABRICS = (PAIR, STAR, LOOPS)


# --- stories ---------------------------------------------


def everyone_reaches_everyone() -> None:
    """Three fabrics, one of them full of loops; then nothing is left of any."""
    processes = _processes()
    for fabric in FABRICS:
        with MininetFabric(fabric) as fabric_net:
            assert fabric_net.net.pingAll(timeout="2") == 0, fabric.name
        assert _interfaces() == INTERFACES, fabric.name
        _expect_only(processes)
        fabric_net.stop()  # once more does no harm


def plain_mininet() -> None:
    """A user's own Mininet script, with the project's classes and without a fabric's forwarding tables."""
    net = Mininet(topo=LeafSpine(2, 2, 1), host=HeldHost, switch=StaticBridge, link=ImpairedLink, controller=None)
    net.start()
    try:
        assert net.pingAll(timeout="2") == 0
        assert net["host1"].cmd("echo $((6 * 7))").strip() == "42"
        assert net["host1"].popen("hostname").wait() == 0
        assert net["host1"].IP() in net["host1"].cmd("ip -4 -o addr")
        assert all(link.status() == "(OK OK)" for link in net.links)
        assert net["host1"].cmd("ls /sys/class/net").split() == ["host1-eth0", "lo"]
    finally:
        net.stop()
    assert _interfaces() == INTERFACES


def too_few_open_files_are_refused_before_anything_is_up() -> None:
    """As many as there may be are taken; where those do not suffice, that is said."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    many = make_fabric("star", {"hosts": 40})
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    with MininetFabric(many) as fabric_net:
        assert fabric_net.net["host40"].cmd("echo up").strip() == "up"
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    processes = _processes()
    with pytest.raises(EngineUnavailable, match="344 open files, and this process may have 64"):
        FabricNet(many).start()
    _expect_only(processes)


def what_users_leave_running_ends() -> None:
    """A daemon that a user started from a host's shell and forgot."""
    processes = _processes()
    with MininetFabric(PAIR) as fabric_net:
        fabric_net.net["host1"].cmd("setsid nohup sleep 1000 >/dev/null 2>&1 &")
        assert len(_processes()) > len(processes) + 2
    _expect_only(processes)


def what_the_kernel_refuses_is_named_and_the_rest_is_done() -> None:
    """Hundreds of entries in a few system calls, some of them for a NIC that there is not."""
    with FabricNet(STAR) as fabric_net:
        ports = {nic.name: nic.index for nic in fabric_net._nics.values() if nic.bridge} | {"gone0": 9999}
        macs = [f"06:00:00:00:{number // 256:02x}:{number % 256:02x}" for number in range(400)]
        entries = {mac: list(ports)[number % len(ports)] for number, mac in enumerate(macs)}
        inside = rtnl.Rtnl.open()
        with pytest.raises(rtnl.NetlinkError, match="forwarding by gone0: ") as refused:
            inside.do(*requests.forwarding(ports, entries))
        assert refused.value.request == "forwarding by gone0"
        shown = subprocess.run(["bridge", "fdb", "show", "br", "switch1"], capture_output=True, text=True, check=True)
        known = {line.split()[0] for line in shown.stdout.splitlines()}
        assert known & set(macs) == {mac for mac, name in entries.items() if name != "gone0"}
        inside.do(*requests.forwarding(ports, {macs[0]: "switch1-eth1"}))  # nothing of the refusals is left unread
        inside.close()


def muted_nics_are_silent() -> None:
    """tx, rx, both; carrier stays; the sender gets no error; other NICs go on."""
    with FabricNet(STAR) as fabric_net:
        wires = Wires(fabric_net)
        wires.expect("host1", "host2", arrives=True)
        fabric_net.nic_mute("host1", "host1-eth0", "tx")
        wires.expect("host1", "host2", arrives=False)
        wires.expect("host2", "host1", arrives=True)
        fabric_net.nic_mute("host1", "host1-eth0", "both")  # the other half too
        wires.expect("host1", "host2", arrives=False)
        wires.expect("host2", "host1", arrives=False)
        wires.expect("host2", "host3", arrives=True)
        assert fabric_net._nic("host1", "host1-eth0").state().flags & IFF_LOWER_UP
        fabric_net.nic_unmute("host1", "host1-eth0")
        wires.expect("host1", "host2", arrives=True)
        wires.expect("host2", "host1", arrives=True)
        fabric_net.nic_mute("host1", "host1-eth0", "rx")
        wires.expect("host1", "host2", arrives=True)
        wires.expect("host2", "host1", arrives=False)
        fabric_net.nic_unmute("host1", "host1-eth0")
        fabric_net.nic_unmute("host1", "host1-eth0")  # not muted: nothing to do
        wires.expect("host2", "host1", arrives=True)


def deaf_nics_hear_the_others() -> None:
    """Frames of one host are dropped as they arrive, those of others are not; one deafness ends without the other."""
    with FabricNet(STAR) as fabric_net:
        wires = Wires(fabric_net)
        fabric_net.nic_deaf("host1", "host1-eth0", ["host2"])
        fabric_net.nic_deaf("host1", "host1-eth0", ["host2", "host3"])
        wires.expect("host2", "host1", arrives=False)
        wires.expect("host3", "host1", arrives=False)
        wires.expect("host1", "host2", arrives=True)
        fabric_net.nic_hear("host1", "host1-eth0", ["host3"])
        wires.expect("host3", "host1", arrives=True)
        wires.expect("host2", "host1", arrives=False)
        fabric_net.nic_mute("host1", "host1-eth0", "rx")
        wires.expect("host3", "host1", arrives=False)
        fabric_net.nic_unmute("host1", "host1-eth0")  # ends the mute, and no more
        wires.expect("host3", "host1", arrives=True)
        wires.expect("host2", "host1", arrives=False)
        fabric_net.nic_hear("host1", "host1-eth0")
        fabric_net.nic_hear("host1", "host1-eth0")  # not deaf: nothing to do
        wires.expect("host2", "host1", arrives=True)


def downed_nics_lose_carrier() -> None:
    """A downed NIC neither sends nor gets, its peer has no carrier, and up is as before: at once, entries and all."""
    for fabric in FABRICS:
        with FabricNet(fabric) as fabric_net:
            wires = Wires(fabric_net)
            for _ in range(3):
                fabric_net.nic_down("host1", "host1-eth0")
                peer = fabric_net._nic("host1", "host1-eth0").peer
                assert not peer.state().flags & IFF_LOWER_UP
                wires.expect("host2", "host1", arrives=False)
                wires.expect("host1", "host2", arrives=False)
                fabric_net.nic_up("host1", "host1-eth0")
                wires.expect("host1", "host2", arrives=True)
                wires.expect("host2", "host1", arrives=True)
    with MininetFabric(PAIR) as fabric_net:
        assert fabric_net.net.pingAll(timeout="2") == 0
        fabric_net.nic_down("host1", "host1-eth0")
        assert fabric_net.net.pingAll(timeout="1") == 100
        fabric_net.nic_up("host1", "host1-eth0")
        assert fabric_net.net.pingAll(timeout="2") == 0  # with its ARP entries


def spawned_processes() -> None:
    """They live in their host's namespaces, share memory, get descriptors, and their ends are told."""
    processes = _processes()
    with FabricNet(PAIR) as fabric_net:
        read_end, write_end = os.pipe()
        pid = fabric_net.spawn("host1", "__main__:reports_where_it_is", {"slot": 7}, [write_end])
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            assert pipe.read().split() == ["host1-eth0", "lo"]
        assert fabric_net.wait(pid) == 5
        assert SHARED[7] == 77
        assert fabric_net.exited() == []
        fails = fabric_net.spawn("host2", "__main__:raises", {})
        assert fabric_net.wait(fails) == 1
        sleeper = fabric_net.spawn("host2", "__main__:sleeps", {})
        os.kill(sleeper, signal.SIGSTOP)
        os.kill(sleeper, signal.SIGCONT)
        assert fabric_net.exited() == []
        os.kill(sleeper, signal.SIGKILL)
        assert select.select([fabric_net.exit_fd("host2")], [], [], 5)[0]
        assert fabric_net.exited() == [Exit("host2", sleeper, -signal.SIGKILL)]
        fabric_net.spawn("host2", "__main__:sleeps", {})  # and forgotten
        large = fabric_net.spawn("host1", "__main__:measures", {"text": "x" * 3_000_000})
        assert fabric_net.wait(large) == 3
    _expect_only(processes)


def hosts_that_start_nothing_take_no_process() -> None:
    """A descriptor holds their namespaces: frames pass, a muted NIC is silent, and with the fabric all of it goes. One
    that starts something takes a process, and has none of the others' descriptors in it."""
    processes, files = _processes(), set(os.listdir("/proc/self/fd"))
    with FabricNet(STAR) as fabric_net:
        _expect_only(processes)
        assert len({os.stat(fabric_net.netns(host)).st_ino for host in STAR.hosts}) == len(STAR.hosts)
        wires = Wires(fabric_net)
        wires.expect("host1", "host2", arrives=True)
        fabric_net.nic_mute("host2", "host2-eth0", "tx")
        wires.expect("host2", "host3", arrives=False)
        fabric_net.nic_down("host3", "host3-eth0")
        wires.expect("host1", "host3", arrives=False)
        with pytest.raises(OwnerError, match="host1: process 1 was not spawned in it"):
            fabric_net._host("host1").wait(1)
        assert fabric_net.exited() == []
        assert not select.select([fabric_net.exit_fd("host1")], [], [], 0)[0]
        _expect_only(processes)
        assert fabric_net.wait(fabric_net.spawn("host1", "__main__:counts_descriptors", {})) == 0
        assert len(_processes() - processes) == 1
        for held in wires.sockets.values():
            held.close()
    assert set(os.listdir("/proc/self/fd")) == files
    assert _interfaces() == INTERFACES


def a_holder_that_ends_with_an_order_unread_has_ended() -> None:
    """Its end of the socket is reset then, not closed."""
    with FabricNet(PAIR) as fabric_net:
        pid = fabric_net.spawn("host1", "__main__:sleeps", {})
        holder = fabric_net._host("host1")
        assert isinstance(holder, Holder)
        os.kill(holder.pid, signal.SIGSTOP)
        holder._channel.send({"an order": "that nobody reads"})
        os.kill(holder.pid, signal.SIGKILL)
        with pytest.raises(OwnerError, match=f"host1: its holder ended before process {pid} was seen to end"):
            fabric_net.wait(pid)


def jitter_without_netem_is_refused() -> None:
    """Never a silent run without jitter; where the kernel has netem, the jitter is there."""
    impaired = _impaired_pair(Impairment(delay_ns=5000, jitter_ns=100), Impairment())
    processes = _processes()
    lacks = rtnl.missing_in_kernel(_plainest_netem())
    if lacks:
        with pytest.raises(EngineUnavailable, match=r"no netem.*--engine vkernel"), FabricNet(impaired):
            pass
    else:
        with FabricNet(impaired) as fabric_net:
            assert list(fabric_net.queues()) == ["host1-eth0"]
    _expect_only(processes)
    assert _interfaces() == INTERFACES


def netem_holds_what_was_asked() -> None:
    """Every attribute, read back with tc; delays with raw frames; a live change keeps what is queued."""
    fabric = _impaired_pair(
        Impairment(delay_ns=50_001, jitter_ns=5_003, distribution="normal", loss=0.25, duplicate=0.125, corrupt=0.0625,
                   correlation=0.5, rate_bps=10_000_000_000, seed=0x0123456789ABCDEF),
        Impairment(delay_ns=2_000_000_000, seed=7),
    )  # fmt: skip
    with MininetFabric(fabric) as fabric_net:
        shown = fabric_net.net["host1"].cmd("tc -s qdisc show dev host1-eth0")
        for words in ("netem", "loss 25%", "duplicate 12.5%", "corrupt 6.25%", "50%", "rate 10Gbit"):
            assert words in shown, shown
        raw = _raw_netem(fabric_net, "host1")
        assert raw[requests.TCA_NETEM_LATENCY64] == (50_001).to_bytes(8, "little")
        assert raw[requests.TCA_NETEM_JITTER64] == (5_003).to_bytes(8, "little")
        assert raw[requests.TCA_NETEM_PRNG_SEED] == (0x0123456789ABCDEF).to_bytes(8, "little")
        wires = Wires(fabric_net)
        # Two seconds of wire: a change to no delay leaves what is queued in the queue.
        start = time.monotonic()
        wires.send("host2", "host1")
        fabric_net.set_impairment(0, "ba", Impairment())
        assert wires.arrivals("host1", patience=5) == 1
        assert 1.9 < time.monotonic() - start < 3
        wires.expect("host2", "host1", arrives=True)
        # Muted after the frame is on the wire: the frame goes on. Muted before: nothing goes.
        fabric_net.set_impairment(0, "ba", Impairment(delay_ns=100_000_000))
        wires.send("host2", "host1")
        fabric_net.nic_mute("host2", "host2-eth0")
        wires.send("host2", "host1")
        assert wires.arrivals("host1", patience=1) == 1
        fabric_net.nic_unmute("host2", "host2-eth0")
        # Down loses what is on the wire in both directions, at either end.
        for downed in ("host1", "host2"):
            wires.send("host2", "host1")
            fabric_net.nic_down(downed, f"{downed}-eth0")
            fabric_net.nic_up(downed, f"{downed}-eth0")
            assert wires.arrivals("host1", patience=1) == 0
            wires.arrivals(downed, patience=0)  # a socket is told once that its NIC was down
            wires.expect("host2", "host1", arrives=True)
    _frames_beyond_the_limit_are_counted()


def _frames_beyond_the_limit_are_counted() -> None:
    with FabricNet(_impaired_pair(Impairment(delay_ns=10_000_000_000, limit=10), Impairment())) as fabric_net:
        wires = Wires(fabric_net)
        for _ in range(15):
            wires.send("host1", "host2", may_fail=True)
        assert fabric_net.qdisc_drops() == {"host1-eth0": 5}


def no_namespaces_to_be_had() -> None:
    """Only for an ordinary user, whose limit is that of this user namespace alone."""
    with open("/proc/sys/user/max_net_namespaces", "w") as limit:
        limit.write("0")
    with pytest.raises(EngineUnavailable, match=r"No space left.*--engine vkernel"):
        isolation.check_isolation()


def up_until_killed() -> None:
    """Brings fabrics up and down for ever, with processes in them."""
    while True:
        with MininetFabric(LOOPS) as fabric_net:
            for host in fabric_net.fabric.hosts:
                fabric_net.spawn(host, "__main__:sleeps", {})
            fabric_net.net["host1"].cmd("sleep 1000 &")
            time.sleep(0.05)


# --- what runs in hosts ---------------------------------------------


def reports_where_it_is(payload: dict[str, int], fds: list[int]) -> int:
    names = sorted(name for _, name in socket.if_nameindex())
    os.write(fds[0], " ".join(names).encode())
    SHARED[payload["slot"]] = 77
    return 5


def raises(_payload: object, _fds: list[int]) -> None:
    os.close(2)
    raise RuntimeError("as intended")


def sleeps(_payload: object, _fds: list[int]) -> None:
    time.sleep(1000)


def counts_descriptors(_payload: object, _fds: list[int]) -> int:
    """Those beside the standard streams; the one that lists them is gone when they have been listed."""
    return len([fd for fd in os.listdir("/proc/self/fd") if int(fd) > 2]) - 1


def measures(payload: dict[str, str], _fds: list[int]) -> int:
    return len(payload["text"]) // 1_000_000


# --- helpers ---------------------------------------------


class Wires:
    """A raw socket in every host, all held by this process."""

    def __init__(self, fabric_net: FabricNet) -> None:
        hosts = set(fabric_net.fabric.hosts)
        self.sockets = {nic.node: _packet_socket(nic) for nic in fabric_net.interfaces() if nic.node in hosts}
        ends = [end for link in fabric_net.fabric.links for end in (link.a, link.b)]
        self.macs = {end.node: bytes.fromhex(end.mac.replace(":", "")) for end in ends}

    def send(self, source: str, target: str, may_fail: bool = False) -> None:
        frame = self.macs[target] + self.macs[source] + ETHERTYPE.to_bytes(2, "big") + bytes(46)
        try:
            self.sockets[source].send(frame)
        except OSError:
            if not may_fail:
                raise

    def arrivals(self, host: str, patience: float) -> int:
        """Frames that come until none has come for ``patience`` seconds, or one for a reader in no hurry."""
        count = 0
        while select.select([self.sockets[host]], [], [], patience)[0]:
            try:
                self.sockets[host].recv(2048)
            except OSError:
                continue  # ENETDOWN is told once
            count += 1
            patience = min(patience, 0.2)
        return count

    def expect(self, source: str, target: str, arrives: bool) -> None:
        self.arrivals(target, 0)
        self.send(source, target, may_fail=not arrives)
        got = self.arrivals(target, 2 if arrives else 0.1)
        assert got == arrives, f"{source} -> {target}: {got} arrived"


def _packet_socket(nic: Interface) -> socket.socket:
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(nic.netns, os.O_RDONLY)
    try:
        syscalls.setns(there)
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
        raw.bind((nic.nic, ETHERTYPE))
        assert socket.if_nametoindex(nic.nic) == nic.ifindex
        return raw
    finally:
        syscalls.setns(home)
        os.close(home)
        os.close(there)


def _impaired_pair(ab: Impairment, ba: Impairment) -> Fabric:
    link = PAIR.links[0]
    return replace(PAIR, links=(replace(link, ab=ab, ba=ba),))


def _plainest_netem() -> codec.Request:
    from testbed.topologies.netem import NetemParams

    return requests.netem_add(1, NetemParams())


def _raw_netem(fabric_net: FabricNet, host: str) -> dict[int, bytes]:
    """The options of the host's root qdisc as the kernel dumps them."""
    import struct

    inside = fabric_net._host(host).rtnl
    for answer in inside._ask(codec.RTM_GETQDISC, [struct.pack("BxxxiIII", 0, 0, 0, 0, 0)], codec.NLM_F_DUMP):
        attributes = codec.attributes(answer[20:])
        if attributes[codec.TCA_KIND] == b"netem\0":
            return codec.attributes(attributes[codec.TCA_OPTIONS][24:])
    raise AssertionError("no netem")


def _interfaces() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


def _processes() -> set[str]:
    """All but the kernel's own threads, whose parent is process 2."""
    found = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if not (KERNEL_THREADS and "2" in (name, parent)):
            found.add(name)
    return found


def _expect_only(processes: set[str]) -> None:
    """What was killed is gone as soon as pid 1 has collected it."""
    deadline = time.monotonic() + 5
    while (left := _processes() - processes) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left, [Path(f"/proc/{pid}/stat").read_text() for pid in left]


if __name__ == "__main__":
    globals()[sys.argv[1]]()
