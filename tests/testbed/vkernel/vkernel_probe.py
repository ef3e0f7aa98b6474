"""A job for a guest: raw frames to and fro over a bridge with seeded netem, every stamp written down.

Two network namespaces on one bridge, netem on both hosts' ends, three processes in each: `PAIRS` pairs do
`argv[1]` round trips each, at the same time. Each pinger writes its receive stamps (SO_TIMESTAMPNS, nanoseconds since
1970) to `rtt-<pair>.txt` in the job folder; `host.txt` gets what else ought to be equal between two boots. Needs
nothing but the standard library and iproute2.
"""

import ctypes
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import uuid
from pathlib import Path

PAIRS = 3
ETHERTYPE = 0x88B5
FRAME_BYTES = 60  # without FCS
DELAY_NS, JITTER_NS = 50_000, 5_000
SO_TIMESTAMPNS = 35
CLONE_NEWNET = 0x40000000
RTM_NEWQDISC, NLM_F_REQUEST_ACK_CREATE_REPLACE = 36, 0x1 | 0x4 | 0x100 | 0x400
TCA_KIND, TCA_OPTIONS = 1, 2
LATENCY64, JITTER64, PRNG_SEED = 10, 11, 14
TC_H_ROOT = 0xFFFFFFFF
LIBC = ctypes.CDLL(None, use_errno=True)


def ip(line: str) -> None:
    subprocess.run(["ip", *line.split()], check=True)


def enter(namespace: str) -> None:
    """Moves this process into a network namespace made by `ip netns add`."""
    with open(f"/run/netns/{namespace}") as file:
        if LIBC.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {namespace}")


def attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def netem(interface: str, seed: int) -> None:
    """tc qdisc replace dev … root netem, with what iproute2 6.1 cannot say: nanoseconds and a seed."""
    options = struct.pack("=IIIIII", 0, 10_000, 0, 0, 0, 0)
    for kind, value in ((LATENCY64, DELAY_NS), (JITTER64, JITTER_NS), (PRNG_SEED, seed)):
        options += attribute(kind, struct.pack("=q", value))
    index = socket.if_nametoindex(interface)
    body = struct.pack("=BxxxiIII", socket.AF_UNSPEC, index, 0, TC_H_ROOT, 0)
    body += attribute(TCA_KIND, b"netem\0") + attribute(TCA_OPTIONS, options)
    head = struct.pack("=IHHII", 16 + len(body), RTM_NEWQDISC, NLM_F_REQUEST_ACK_CREATE_REPLACE, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as link:
        link.send(head + body)
        error = struct.unpack_from("=i", link.recv(4096), 16)[0]
    if error:
        raise OSError(-error, os.strerror(-error))


def build() -> None:
    ip("link add br0 type bridge stp_state 0 mcast_snooping 0 forward_delay 0")
    ip("link set br0 up")
    for host in ("a", "b"):
        ip(f"netns add {host}")
        ip(f"link add s-{host} type veth peer name eth0 netns {host}")
        ip(f"link set s-{host} master br0 up")
        ip(f"-n {host} link set eth0 up")
    for host in ("a", "b"):
        wait_for(f"/sys/class/net/s-{host}/brport/state", "3")  # forwarding
        wait_for(f"/sys/class/net/s-{host}/operstate", "up")


def wait_for(path: str, wanted: str) -> None:
    """Virtual time hardly passes while links come up: without waiting, frames would meet a noop qdisc."""
    for _ in range(1000):
        if Path(path).read_text().strip() == wanted:
            return
        time.sleep(0.01)
    raise TimeoutError(f"{path} is not {wanted}")


def raw_socket(ethertype: int) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype))
    sock.bind(("eth0", ethertype))
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    return sock


def stamp_ns(ancillary: list[tuple[int, int, bytes]]) -> int:
    seconds, nanoseconds = struct.unpack("=qq", ancillary[0][2])
    return int(seconds * 1_000_000_000 + nanoseconds)


def echo(pair: int) -> None:
    sock = raw_socket(ETHERTYPE + pair)
    mac = sock.getsockname()[4]
    while True:
        frame = sock.recv(2048)
        sock.send(frame[6:12] + mac + frame[12:])


def ping(pair: int, rounds: int, job: Path) -> None:
    sock = raw_socket(ETHERTYPE + pair)
    mac = sock.getsockname()[4]
    sock.settimeout(1)
    frame = b"\xff" * 6 + mac + struct.pack("!H", ETHERTYPE + pair)
    time.sleep(0.01)  # the echoes open their sockets first
    stamps = []
    for number in range(rounds):
        sock.send(frame + struct.pack("!I", number) + bytes(FRAME_BYTES - 18))
        _, ancillary, _, _ = sock.recvmsg(2048, 64)
        stamps.append(stamp_ns(ancillary))
    (job / f"rtt-{pair}.txt").write_text("".join(f"{stamp}\n" for stamp in stamps))


def spawn(namespace: str, work, *arguments) -> int:  # type: ignore[no-untyped-def]
    pid = os.fork()
    if pid == 0:
        try:
            enter(namespace)
            work(*arguments)
            os._exit(0)
        except BaseException as error:
            print(f"{work.__name__}: {error!r}", file=sys.stderr, flush=True)
            os._exit(1)
    return pid


def facts() -> str:
    """What must not differ between two boots either."""
    macs = [
        subprocess.run(["ip", "-n", name, "-o", "link"], check=True, capture_output=True, text=True).stdout
        for name in ("a", "b")
    ]
    lines = [os.urandom(16).hex(), str(uuid.uuid4()), str(hash("x")), str(os.getpid()), hex(id(object()))]
    lines += [str(time.time_ns()), str(time.monotonic_ns()), os.getcwd(), sys.executable, *macs]
    return "\n".join(lines) + "\n"


def main() -> int:
    job, rounds = Path(os.environ["OAE_JOB"]), int(sys.argv[1])
    build()
    seeds = {"a": 0x1234_5678_9ABC_DEF0, "b": 0x0FED_CBA9_8765_4321}
    for host, seed in seeds.items():
        pid = spawn(host, netem, "eth0", seed)
        os.waitpid(pid, 0)
    echoes = [spawn("b", echo, pair) for pair in range(PAIRS)]
    pings = [spawn("a", ping, pair, rounds, job) for pair in range(PAIRS)]
    failed = [pid for pid in pings if os.waitpid(pid, 0)[1] != 0]
    for pid in echoes:
        os.kill(pid, signal.SIGKILL)
    (job / "host.txt").write_text(facts())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
