"""Runs in a guest: what a program finds out in a container of the runtime, made as nodes' containers are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from testbed.engines.live.containers.boarding import Boarding
from testbed.engines.live.containers.runtime import Runtime
from testbed.engines.live.containers.settings import Settings
from testbed.plan import Container

WAYS = {
    "a namespace": "checked(libc.unshare(0x10000000))",
    "a namespace, by clone": "checked(libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0))",
    "another namespace": "checked(libc.setns(os.open('/proc/self/ns/net', 0), 0))",
    "a mount": "checked(libc.mount(b'none', b'/tmp', b'tmpfs', 0, None))",
    "its root": "open('/opt/oae/testbed/nodes/more', 'w')",
    "its socket's folder": "open('/run/oae/more', 'w')",
    "a device": "os.mknod('/dev/disk', 0o60600, os.makedev(98, 0))",
    "the kernel's settings": "open('/proc/sys/kernel/hostname', 'w')",
    "the machine's key": "open('/proc/sysrq-trigger', 'w')",
    "its NIC": "fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh', b'lo', 0))",
    "the guest's files": "open('/run/job/plan.json')",
    "another process": "os.kill(9999, 9)",
}
CODE = f"""
import ctypes, errno, fcntl, json, os, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
def checked(result):
    if result < 0: raise OSError(ctypes.get_errno(), '')
told = {{}}
for way, code in {WAYS!r}.items():
    try:
        exec(code)
        told[way] = 'REACHED'
    except OSError as error:
        told[way] = errno.errorcode[error.errno]
facts = dict(line.strip('\\n').split(':\\t', 1) for line in open('/proc/self/status') if ':\\t' in line)
told['rights'] = [facts[name] for name in ('CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp')]
told['processes'] = [name for name in os.listdir('/proc') if name.isdigit()]
told['name'] = os.uname().nodename
print(json.dumps(told), flush=True)
input()  # until its limits have been looked at
"""


def main(program: str, rootfs: str, job: Path) -> None:
    """Leaves what was found out in the job's folder."""
    limits = Container(cpus=0.5, memory_bytes=64 << 20)
    runtime = Runtime(Settings(program, rootfs, folder="/run/containers"), limits)
    bundle = runtime.bundle("host1", 1, Boarding(Path("/run/containers/host1")).folder)
    described = json.loads((bundle / "config.json").read_text())
    described["process"]["args"] = ["/usr/bin/python3", "-c", CODE]
    (bundle / "config.json").write_text(json.dumps(described))
    plain = ["--cgroup-manager", "cgroupfs"] if program.endswith("crun") else []
    group = Path("/sys/fs/cgroup/memory/oae/host1-1/memory.limit_in_bytes")
    words = [program, *plain, "run", "--bundle", str(bundle), "host1-1"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        (job / "told").write_bytes(running.stdout.readline())
        (job / "limit").write_text(group.read_text())
        running.stdin.write(b"\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path("/run/job"))
