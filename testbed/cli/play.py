"""``testbed play``: a playbook, on machines or in the nodes of a running fabric, through ansible-runner."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from testbed.cli.output import existing, fail, overrides, verb
from testbed.errors import UserError, installing
from testbed.shipped import shipped

PLAYBOOKS = shipped("playbooks")
_LOST = {"runner_on_unreachable": "can't be reached", "runner_on_failed": "failed"}


@verb
def play(
    playbook: Annotated[str, typer.Argument(help="A playbook's file, or the name of one that ships.")],
    inventory: Annotated[
        str | None, typer.Option("--inventory", "-i", help="The machines (default: this one; see playbooks/).")
    ] = None,
    fabric: Annotated[
        str | None, typer.Option("--fabric", "-f", help="Play it in the nodes of this running fabric.")
    ] = None,
    extra: Annotated[
        list[str] | None, typer.Option("--extra", "-e", metavar="KEY=VALUE", help="Set a variable; repeatable.")
    ] = None,
) -> None:
    """Run a playbook through ansible-runner: on this machine, on those of an inventory, or in a fabric's nodes."""
    from testbed.cli import fabrics

    if fabric is not None and inventory is not None:
        raise UserError("--fabric and --inventory both say where to play it; give one of them")
    path = find_playbook(playbook)
    variables = dict(overrides(extra, "--extra", "rounds=100"))
    if fabric is not None:
        inventory, variables["testbed_fabric"] = str(PLAYBOOKS / "fabric.testbed.yml"), fabrics.find(fabric).name
    elif inventory is None:
        inventory = str(PLAYBOOKS / "inventory.ini")
    elif "," not in inventory:
        inventory = str(existing(Path(inventory), "inventory").resolve())
    lost = run_playbook(path, inventory, variables)
    if lost:
        fail(f"{path.name}: " + "; ".join(lost))


def find_playbook(name: str) -> Path:
    """A file as named, or one that ships, with or without its ending. Raises UserError."""
    for path in (Path(name), PLAYBOOKS / f"{name}.yml"):
        if path.is_file():
            return path.resolve()
    shipped = ", ".join(sorted(path.stem for path in PLAYBOOKS.glob("*.yml") if ".testbed" not in path.name))
    raise UserError(f"{name or repr(name)}: there is no such playbook; a file is wanted, or one that ships: {shipped}")


def run_playbook(path: Path, inventory: str, variables: dict[str, str]) -> list[str]:
    """Plays it, its output on standard output; a sentence for each host on which it did not come to its end."""
    ansible = _ansible_runner()
    environment = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "ANSIBLE_CONFIG": str(shipped("ansible.cfg")),
        "OAE_STARTED_IN": str(Path.cwd()),
        "OAE_TESTBED_FABRIC": variables.get("testbed_fabric", ""),
    }
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        environment["ANSIBLE_NOCOLOR"] = "1"  # it would see a terminal: the one that it is run on by ansible-runner
    with tempfile.TemporaryDirectory(prefix="oae-testbed-play-") as scratch:
        done = ansible.run(
            private_data_dir=scratch,
            playbook=str(path),
            inventory=inventory,
            extravars=variables,
            envvars=environment,
            quiet=True,
            event_handler=_show,
        )
        return [] if done.rc == 0 else _lost(done.events) or ["ansible-playbook refused it; its words stand above"]


def _show(event: dict[str, Any]) -> bool:
    """What Ansible says, with the line ends of a file; whether the event is kept: _lost looks at all of them."""
    if event.get("stdout"):
        print(event["stdout"].replace("\r\n", "\n"), flush=True)
    return True


def _ansible_runner() -> Any:
    try:
        import ansible_runner
    except ImportError:
        raise UserError(f"Ansible is not installed; {installing('ansible')}") from None
    return ansible_runner


def _lost(events: Iterable[dict[str, Any]]) -> list[str]:
    """What became of the hosts that were lost on the way, in the words of what they last said."""
    found: dict[str, str] = {}
    for event in events:
        about = event.get("event_data", {})
        if event["event"] in _LOST and not about.get("ignore_errors"):
            told = about.get("res", {})
            words = told.get("stderr") or told.get("msg") or "its words stand above"
            found[about["host"]] = f"{about['host']} {_LOST[event['event']]} ({about['task']}): {_last_line(words)}"
    return list(found.values())


def _last_line(words: Any) -> str:
    lines = [line for line in str(words).splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""
