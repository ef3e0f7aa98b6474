"""``testbed doctor``: what this host can do, and what to do about what it can't."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass

from testbed.cli.common import path_with_system_folders
from testbed.cli.output import JsonFlag, console, print_json, verb
from testbed.errors import installing

_COLOURS = {"ok": "green", "limited": "yellow", "missing": "red"}
_MARK = max(map(len, _COLOURS))


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. state: ok | missing | limited. needed_for: the engines that want it. advice: what to do."""

    name: str
    state: str
    found: str
    needed_for: str
    advice: str = ""


@verb
def doctor(json: JsonFlag = False) -> None:
    """Show what this host can run, and what to do about the rest."""
    checks = examine()
    engines = engines_ready(checks)
    if json:
        print_json({"checks": [asdict(check) for check in checks], "engines": engines})
        return
    _show(checks, engines)


def examine() -> list[Check]:
    """All checks; each leaves the host as it was."""
    looks: tuple[Callable[[], Check], ...] = (
        _python,
        _root,
        _namespaces,
        _netem,
        _kernel,
        _build_tools,
        _kernel_source,
        _mininet,
        _tools,
        _container_engine,
        _node_image,
        _oci_runtime,
        _ansible,
        _vxlan,
    )
    return [look() for look in looks]


def engines_ready(checks: list[Check]) -> dict[str, str]:
    """Each engine: ready, or what it lacks."""
    state = {check.name: check.state for check in checks}
    live = [name for name in ("namespaces", "mininet") if state[name] != "ok"]
    live_text = (
        f"lacks {', '.join(live)}" if live else "ready" if state["netem"] == "ok" else "ready without impairments"
    )
    if state["virtual-time kernel"] == "ok":
        vkernel = "ready"
    elif state["build tools"] == "ok" and state["kernel source"] == "ok":
        vkernel = "wants its kernel built once: testbed kernel build"
    else:
        lacking = [name for name in ("build tools", "kernel source") if state[name] != "ok"]
        vkernel = f"lacks {', '.join(lacking)}"
    return {"sim": "ready" if state["python"] == "ok" else "lacks python", "vkernel": vkernel, "live": live_text}


def _show(checks: list[Check], engines: dict[str, str]) -> None:
    from rich.markup import escape

    screen = console()
    names = max(len(check.name) for check in checks)
    purposes = max(len(check.needed_for) for check in checks)
    screen.print(f"[dim]{'':<{_MARK}}  {'what':<{names}}  {'for':<{purposes}}  found[/]", soft_wrap=True)
    for check in checks:
        mark = f"[{_COLOURS[check.state]}]{check.state:<{_MARK}}[/]"
        row = f"{mark}  {check.name:<{names}}  [dim]{check.needed_for:<{purposes}}[/]  {escape(check.found)}"
        screen.print(row, soft_wrap=True)  # what was found is last, so that no path is broken
    for check in checks:
        if check.advice and check.state != "ok":
            screen.print(f"\n[bold]{check.name}[/]: {escape(check.advice)}", soft_wrap=True)
    screen.print()
    for engine, text in engines.items():
        screen.print(f"engine [bold]{engine}[/]: {text}")


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    return Check("python", "ok" if good else "missing", version, "all", "" if good else "Install Python 3.11 or newer.")


def _root() -> Check:
    root = os.geteuid() == 0
    found = "yes" if root else "no (not needed by sim and vkernel)"
    return Check("root", "ok" if root else "limited", found, "installing packages")


def _namespaces() -> Check:
    from testbed.engines.base import EngineUnavailable
    from testbed.engines.live.isolation import check_isolation

    try:
        check_isolation()
    except EngineUnavailable as error:
        return Check("namespaces", "missing", error.why, "live, up", error.advice)
    return Check("namespaces", "ok", "as root" if os.geteuid() == 0 else "as an unprivileged user", "live, up")


def _netem() -> Check:
    """Asks the kernel for a netem in a network namespace of its own."""
    from testbed.engines.live.netlink.requests import netem_add
    from testbed.engines.live.netlink.rtnl import missing_in_kernel
    from testbed.topologies.impairment import Impairment
    from testbed.topologies.netem import netem_params

    try:
        reason = missing_in_kernel(netem_add(1, netem_params(Impairment(delay_ns=1000, jitter_ns=100))))
    except OSError as error:
        reason = str(error)
    if not reason:
        return Check("netem", "ok", "this kernel has sch_netem", "impairments in live")
    advice = (
        "This kernel's live engine can't impair links. Use --engine vkernel, which brings its own netem; or install the"
        " distribution's package of extra kernel modules (linux-modules-extra or kernel-modules-extra)."
    )
    return Check("netem", "missing", reason, "impairments in live", advice)


def _kernel() -> Check:
    from testbed.engines.vkernel.kernel import cache_folder, find_kernel

    found = find_kernel()
    if found:
        return Check("virtual-time kernel", "ok", str(found), "vkernel")
    advice = "Build it once (some minutes): testbed kernel build"
    return Check("virtual-time kernel", "missing", f"none in {cache_folder()}", "vkernel", advice)


def _build_tools() -> Check:
    from testbed.engines.vkernel.kernel import missing_build_tools

    lacking = missing_build_tools()
    if not lacking:
        return Check("build tools", "ok", "all there", "building the kernel")
    advice = f"apt-get install {' '.join(lacking)}"
    return Check("build tools", "missing", f"lacks {', '.join(lacking)}", "building the kernel", advice)


def _kernel_source() -> Check:
    from testbed.engines.vkernel.kernel import VKernelUnavailable, find_source

    try:
        source = find_source()
    except VKernelUnavailable as error:
        return Check("kernel source", "missing", error.why, "building the kernel", error.advice)
    return Check("kernel source", "ok", str(source.archive), "building the kernel")


def _mininet() -> Check:
    try:
        from mininet.net import VERSION
    except ImportError as error:
        return Check("mininet", "missing", str(error), "live, vkernel, up", "install the testbed anew")
    return Check("mininet", "ok", VERSION, "live, vkernel, up")


def _tools() -> Check:
    lacking = [tool for tool in ("ip", "tc") if shutil.which(tool, path=path_with_system_folders()) is None]
    if not lacking:
        return Check("ip and tc", "ok", "iproute2 is installed", "commands in hosts")
    advice = "apt-get install iproute2"
    return Check("ip and tc", "missing", f"lacks {', '.join(lacking)}", "commands in hosts", advice)


def _container_engine() -> Check:
    from testbed.engines.base import EngineUnavailable
    from testbed.engines.live.containers.engine import ContainerEngine

    needed_for = "nodes: container in live"
    try:
        engine = ContainerEngine.find()
    except EngineUnavailable as error:
        return Check("container engine", "missing", error.why, needed_for, error.advice)
    if os.geteuid() != 0:
        advice = "Run as root, or use --engine vkernel: NICs are moved into containers, which takes root."
        return Check("container engine", "limited", f"{engine.about()}, but you are not root", needed_for, advice)
    if not engine.filters_calls():
        advice = "Nodes run all the same; what this engine was built or started without is one fence around them."
        return Check("container engine", "limited", f"{engine.about()}, without seccomp", needed_for, advice)
    return Check("container engine", "ok", engine.about(), needed_for)


def _node_image() -> Check:
    from testbed.engines.base import EngineUnavailable
    from testbed.engines.live.containers.engine import ContainerEngine
    from testbed.engines.live.containers.image import find_image, image_name

    name, lacking = image_name(), []
    if find_image() is None:
        lacking.append("in the cache, for vkernel")
    try:
        if not ContainerEngine.find().has_image(name):
            lacking.append("in the engine, for live")
    except EngineUnavailable:
        pass  # told by the check before
    if not lacking:
        return Check("node image", "ok", name, "nodes: container")
    found = f"{name} is not {' nor '.join(lacking)}"
    return Check("node image", "missing", found, "nodes: container", "Make it, in some seconds: testbed image build")


def _oci_runtime() -> Check:
    from testbed.engines.live.containers.runtime import RUNTIMES, find_runtime

    found = find_runtime()
    if found:
        return Check("OCI runtime", "ok", found, "nodes: container in vkernel")
    why = f"neither {' nor '.join(RUNTIMES)}"
    return Check("OCI runtime", "missing", why, "nodes: container in vkernel", "apt-get install crun")


def _ansible() -> Check:
    from importlib.util import find_spec

    lacking = [name for name in ("ansible", "ansible_runner") if find_spec(name) is None]
    if lacking:
        found = f"lacks {' and '.join(lacking)}"
        return Check("ansible", "missing", found, "playbooks, several machines", installing("ansible"))
    return Check("ansible", "ok", "ansible-core and ansible-runner", "playbooks, several machines")


def _vxlan() -> Check:
    """Asks the kernel for a VXLAN device in a network namespace of its own."""
    from testbed.engines.live.machines.remote import no_vxlan

    reason = no_vxlan()
    needed_for = "this machine as one of several"
    if reason:
        return Check("vxlan", "missing", reason, needed_for, "Load the module, as root: modprobe vxlan")
    if os.geteuid() != 0:
        return Check(
            "vxlan", "limited", "not root", needed_for, "Links between machines take root; name it in the inventory."
        )
    return Check("vxlan", "ok", "this kernel has VXLAN", needed_for)
