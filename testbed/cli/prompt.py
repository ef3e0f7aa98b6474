"""Mininet's command line, on a fabric of ours: each of its commands works, or says in a line why it can't here.

    prompt = Prompt(net, called="leaf_spine")
    prompt.perform("link host1 leaf1 down")   # its output and its exit code
    prompt.cmdloop()                          # see Prompt.talk

A command that fails costs neither the prompt nor the fabric.
"""

from __future__ import annotations

import io
import logging
import os
import re
import subprocess
from cmd import Cmd
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import mininet.cli
from mininet.cli import CLI
from mininet.log import error, info, lg, output, setLogLevel

from testbed.cli.common import unknown_node
from testbed.cli.output import print_json

_COMMAND_FAILED = 1
_IDENTIFIERS = Cmd.identchars + "-.:"  # names of nodes may have these in them
_TERMINALS = {"xterm": "xterm", "gterm": "gnome-terminal"}


class Prompt(CLI):  # type: ignore[misc]
    """Mininet's command line. called: what the fabric is called, for the commands that its words name. note: told each
    line."""

    identchars = _IDENTIFIERS
    helpStr = re.sub(r"\bh(\d+)\b", r"host\1", CLI.helpStr)  # noqa: N815 - as Mininet calls it

    def __init__(self, net: Any, called: str, note: Callable[[str], object] = lambda _: None) -> None:
        self._called, self._note = called, note
        self._in_person = False
        self._quiet_end, self._never_closed = os.pipe()  # an input on which nothing ever comes
        super().__init__(net, stdin=os.fdopen(self._quiet_end))

    @classmethod
    def has(cls, command: str) -> bool:
        """Whether it is one of Mininet's own."""
        parser = Cmd()
        parser.identchars = cls.identchars
        name, _, _ = parser.parseline(command)
        return bool(name) and hasattr(cls, f"do_{name}")

    def run(self) -> None:
        """Called by Mininet at the end of its own __init__: who talks to it is told apart here."""
        if self._in_person:
            super().run()

    def talk(self, stdin: Any) -> None:
        """With somebody at a terminal, or with lines that come from elsewhere, to the end."""
        setLogLevel("info")
        self.stdin, self._in_person = stdin, True
        self.inPoller.unregister(self._quiet_end)
        self.inPoller.register(stdin)
        info("*** Starting CLI:\n")
        if os.access(Path.home(), os.W_OK):  # else Mininet ends with a traceback, as it can't keep its history there
            CLI.initReadline()
        self.run()

    @classmethod
    def initReadline(cls) -> None:  # noqa: N802 - as Mininet calls it, for every prompt: see talk
        """Nothing: commands that nobody types are no history."""

    def perform(self, command: str) -> tuple[str, int]:
        """One command: all that it said, and its exit code: that of a node's command, else 1 where it failed."""
        node, _, rest = command.strip().partition(" ")
        if node in self.mn and rest.strip():
            self._note(command)
            line = re.sub(r"\S+", lambda word: self._address(word[0]), rest)  # blanks in quotes stay as they are
            said, complaint, code = self.mn[node].pexec(line, shell=True)
            return said + complaint + "".join(f"{hint}\n" for hint in self._hints(rest) if code), int(code)
        setLogLevel("output")
        with _heard() as (told, failed):
            self.stdout = told
            self.onecmd(self.precmd(command))
        return told.getvalue().replace("\r\n", "\n"), _COMMAND_FAILED if failed() else 0

    def performed(self, commands: Iterable[str], told: bool = False) -> list[dict[str, Any]]:
        """Each of the commands with its output, ``told`` at once as well, and its exit code."""
        results = []
        for command in commands:
            said, code = self.perform(command)
            if told:
                print_said(said)
            results.append({"command": command, "output": said, "exit_code": code})
        return results

    def _address(self, word: str) -> str:
        """Names of hosts mean their addresses, as at Mininet's prompt."""
        return str(self.mn[word].IP() or word) if word in self.mn else word

    def _hints(self, words: str) -> Iterator[str]:
        """What is meant as a node, perhaps, and is none."""
        for word in words.split():
            if word not in self.mn and re.fullmatch(r"[hs]\d+", word):
                yield f"*** {self._unknown(word)}"

    def _unknown(self, word: str) -> str:
        hosts, switches = ([node.name for node in nodes] for nodes in (self.mn.hosts, self.mn.switches))
        return unknown_node(word, hosts, switches)

    def _is_node(self, word: str) -> bool:
        if word not in self.mn:
            error(f"*** {self._unknown(word)}\n")
        return word in self.mn

    # -- what Mininet calls ------------------------------------------------------------------------------------------

    def onecmd(self, line: str) -> Any:
        """One line; what goes wrong in it is told in one line, and the prompt goes on."""
        self._note(line)
        try:
            return super().onecmd(line)
        except SystemExit:  # py exit()
            return True
        except Exception as problem:
            words = " ".join(str(problem).split()) or type(problem).__name__
            error(f"*** {(line.split() or ['?'])[0]}: {words}\n")
            return False

    def default(self, line: str) -> None:
        """A command in a node."""
        first, _, _ = self.parseline(line)
        if not first:
            error(f"*** {line}: begin with a node or a command (help names them)\n")
        elif first not in self.mn:
            error(f"*** {self._unknown(first)} (commands: help)\n")
        else:
            super().default(line)
            for hint in self._hints(line):
                output(f"{hint}\n")

    def do_sh(self, line: str) -> None:
        """Run a command in the namespace of the switches.
        Usage: sh [cmd args]"""
        if self._in_person:
            super().do_sh(line)
            return
        done = subprocess.run(
            line, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        output(done.stdout.decode(errors="replace"))
        if done.returncode:
            error(f"*** sh: exit code {done.returncode}\n")

    def do_py(self, line: str) -> None:
        """Evaluate a Python expression.
        Node names may be used, e.g.: py host1.cmd('ls')"""
        result = eval(line, vars(mininet.cli), self.getLocals())  # what the user asks for
        if result:
            output(f"{result if isinstance(result, str) else repr(result)}\n")

    def do_px(self, line: str) -> None:
        """Execute a Python statement.
        Node names may be used, e.g.: px print(host1.cmd('ls'))"""
        exec(line, vars(mininet.cli), self.getLocals())  # what the user asks for

    def do_links(self, _line: str) -> None:
        """Links, and whether frames go through at either end: OK or DOWN."""
        for link in self.mn.links:
            output(f"{link} ({_carrier(link.intf1)} {_carrier(link.intf2)})\n")

    def do_pingall(self, line: str) -> None:
        """Ping between all hosts.
        Usage: pingall [seconds to wait for each answer: 1]"""
        self._lost(self.mn.pingAll(line or "1"))  # ping itself would wait for ten, of every pair that is cut off

    def do_pingpair(self, _line: str) -> None:
        """Ping between the first two hosts."""
        self._lost(self.mn.pingPair())

    def do_pingallfull(self, _line: str) -> None:
        """Ping between all hosts, with all results."""
        self._lost_in(self.mn.pingAllFull())

    def do_pingpairfull(self, _line: str) -> None:
        """Ping between the first two hosts, with all results."""
        self._lost_in(self.mn.pingPairFull())

    def _lost_in(self, results: Sequence[tuple[Any, Any, tuple[Any, ...]]]) -> None:
        self._lost(sum(numbers[0] - numbers[1] for _, _, numbers in results))

    def _lost(self, much: float) -> None:
        if much and not self._in_person:
            error("*** not every ping was answered\n")

    def do_iperf(self, line: str) -> None:
        """TCP between two hosts (the first and the last) for five seconds.
        Usage: iperf node1 node2"""
        if self._can_measure("iperf", line.split(), ("iperf", "telnet")):
            super().do_iperf(line)

    def do_iperfudp(self, line: str) -> None:
        """UDP between two hosts (the first and the last) for five seconds.
        Usage: iperfudp bw node1 node2"""
        if self._can_measure("iperfudp", line.split()[1:], ("iperf",)):
            super().do_iperfudp(line)

    def _can_measure(self, command: str, names: Sequence[str], programs: Sequence[str]) -> bool:
        """Whether hosts have what it takes: Mininet would wait for ever for a server that never came."""
        if not all(self._is_node(name) for name in names):
            return False
        chosen = [self.mn[name] for name in names] or [self.mn.hosts[0], self.mn.hosts[-1]]
        client, server = chosen[0], chosen[-1]
        if client is server:
            error(f"*** {command}: two hosts are wanted\n")
            return False
        missing = [name for name in programs if client.pexec(f"command -v {name}", shell=True)[2]]
        if missing:
            error(f"*** {command}: {' and '.join(missing)} not installed here (apt-get install {' '.join(missing)})\n")
        elif client.pexec(f"ping -c 1 -W 2 {server.IP()}", shell=True)[2]:
            error(f"*** {command}: {server.name} does not answer {client.name} (link, links and ping tell why)\n")
        else:
            return True
        return False

    def do_dpctl(self, _line: str) -> None:
        """Not here: switches are bridges of the kernel, which no OpenFlow reaches."""
        switch = self.mn.switches[0].name if self.mn.switches else "leaf1"
        error(f"*** dpctl: switches here are Linux bridges without OpenFlow; their entries: {switch} bridge fdb show\n")

    def do_xterm(self, line: str, term: str = "xterm") -> None:
        """A terminal window for each of these nodes.
        Usage: xterm node1 node2 ..."""
        if all(self._is_node(name) for name in line.split()) and self._can_show(term, line, _TERMINALS[term]):
            super().do_xterm(line, term)

    def do_x(self, line: str) -> None:
        """A program with windows in a node.
        Usage: x node cmd args"""
        words = line.split()
        if len(words) < 2:
            error("usage: x node cmd [args]\n")
        elif self._is_node(words[0]) and self._can_show("x", line, words[1]):
            super().do_x(line)

    def _can_show(self, command: str, line: str, program: str) -> bool:
        display = os.environ.get("DISPLAY", "")
        if not display:
            why = "there is no display here (DISPLAY is not set)"
        elif display.partition(":")[0] not in ("", "unix"):
            why = f"the display {display} is reached over a network, and a fabric has none but its own"
        elif subprocess.run(["sh", "-c", f"command -v {program}"], capture_output=True, check=False).returncode:
            why = f"{program} is not installed here"
        else:
            return True
        node = (line.split() or ["host1"])[0]
        error(f"*** {command}: {why}; in another terminal: testbed exec -f {self._called} {node} bash\n")
        return False

    def do_source(self, line: str) -> Any:
        """Commands from a file, one a line.
        Usage: source <file>"""
        names = line.split()
        if len(names) != 1:
            error("usage: source <file>\n")
            return False
        try:
            text = Path(names[0]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as problem:
            error(f"*** source: {names[0]}: {getattr(problem, 'strerror', None) or 'is no text'}\n")
            return False
        return any(self.onecmd(self.precmd(each)) for each in text.splitlines())

    def do_link(self, line: str) -> None:
        """Bring the links between two nodes up or down.
        Usage: link node1 node2 up|down"""
        words = line.split()
        if len(words) != 3 or words[2] not in ("up", "down"):
            error("usage: link node1 node2 up|down\n")
        elif all(self._is_node(name) for name in words[:2]):
            super().do_link(line)

    def do_switch(self, line: str) -> None:
        """Stop a switch, so that it forwards nothing, or start it again.
        Usage: switch <switch name> stop|start"""
        name, _, deed = line.partition(" ")
        if deed.strip() not in ("start", "stop"):
            error("usage: switch <switch name> stop|start\n")
        elif self._is_node(name):
            if self.mn[name] in self.mn.switches:
                super().do_switch(line)
            else:
                error(f"*** switch: {name} is a host\n")


def _carrier(interface: Any) -> str:
    """Mininet's own word for it says only that the interface is there."""
    told, _, _ = interface.node.pexec(f"ip -o link show dev {interface.name}")
    return "MISSING" if interface.name not in told else "OK" if "LOWER_UP" in told else "DOWN"


def carry_out(prompt: Prompt, commands: Iterable[str], json: bool) -> int:
    """What commands said, as it comes or as JSON at the end; the exit code of the whole."""
    results = prompt.performed(commands, told=not json)
    if json:
        print_json(results)
    return exit_code(results)


def print_said(said: str) -> None:
    """What a command said, up to the end of a line."""
    print(said, end="" if said.endswith("\n") or not said else "\n", flush=True)


def exit_code(results: Iterable[dict[str, Any]]) -> int:
    """Whether any of the commands failed."""
    return _COMMAND_FAILED if any(result["exit_code"] for result in results) else 0


@contextmanager
def _heard() -> Iterator[tuple[io.StringIO, Callable[[], bool]]]:
    """What Mininet logs and what is printed meanwhile; and whether any of it was an error."""
    told = io.StringIO()
    watch = _Errors(logging.ERROR)
    streams = [handler.stream for handler in lg.handlers]
    for handler in lg.handlers:
        handler.stream = told
    lg.addHandler(watch)
    try:
        with redirect_stdout(told):
            yield told, lambda: watch.any
    finally:
        lg.removeHandler(watch)
        for handler, stream in zip(lg.handlers, streams, strict=True):
            handler.stream = stream


class _Errors(logging.Handler):
    """Whether there was any."""

    any = False

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002
        self.any = True
