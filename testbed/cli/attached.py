"""Mininet's command line for those who come to a fabric that runs in the background: the fabric's side.

Each prompt is a process of its own, forked from the fabric's: whatever is typed there, the fabric goes on. What is
started at a prompt ends with it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import Any, NoReturn

from testbed.cli.prompt import Prompt, carry_out

FREE, BUSY = b"free", b"busy"
PASSED = 5  # descriptors: standard input, output, error, where to tell, what is wanted
_INTERRUPTED = 130
_DEFECT = 70


def serve(net: Any, called: str, door: int) -> NoReturn:
    """Prompts for who comes to the door, one after the other: two would answer each other's questions to the kernel."""
    guest = -1  # descriptor of the process that is attached
    with socket.socket(fileno=door) as waiting:
        while True:
            came, _, _ = select.select([waiting.fileno(), *([guest] if guest >= 0 else [])], [], [])
            if guest in came:
                os.waitid(os.P_PIDFD, guest, os.WEXITED)
                os.close(guest)
                guest = -1
                _note("the prompt that was attached has ended")
            if waiting.fileno() in came:
                guest = _let_in(waiting, net, called, guest)


def _let_in(waiting: socket.socket, net: Any, called: str, guest: int) -> int:
    who, _ = waiting.accept()
    with who:
        _, passed, _, _ = socket.recv_fds(who, 1, PASSED)
        try:
            with suppress(OSError):  # gone already
                who.sendall(BUSY if guest >= 0 or len(passed) != PASSED else FREE)
            if guest >= 0 or len(passed) != PASSED:
                return guest
            _note("a prompt is attached")
            child = os.fork()
            if child == 0:
                _be_attached(net, called, passed)
            return os.pidfd_open(child)
        finally:
            for descriptor in passed:
                os.close(descriptor)


def _note(text: str) -> None:
    """A line for `testbed logs`."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def _be_attached(net: Any, called: str, passed: list[int]) -> NoReturn:
    """This process becomes the prompt. It ends when whoever asked for it does."""
    code = _DEFECT
    try:
        log = os.dup(1)
        for stream in range(3):
            os.dup2(passed[stream], stream)
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with os.fdopen(os.dup(passed[4]), encoding="utf-8") as file:
            wanted = json.load(file)
        os.environ.update(wanted["environment"])
        theirs = socket.socket(fileno=os.dup(passed[3]))
        theirs.sendall(b"{}")
        threading.Thread(target=_end_with, args=(theirs,), daemon=True).start()
        code = _talk(Prompt(net, called, lambda line: os.write(log, f"  {line}\n".encode())), wanted)
        sys.stdout.flush()
        net.close_shells()
        theirs.sendall(json.dumps({"code": code}).encode())
    except BaseException as problem:
        print(f"testbed: error: the prompt ended: {problem!r}", file=sys.stderr)
    finally:
        os._exit(code)


def _talk(prompt: Prompt, wanted: dict[str, Any]) -> int:
    try:
        if wanted["exec"]:
            return carry_out(prompt, wanted["exec"], wanted["json"])
        prompt.talk(sys.stdin)
        return 0
    except KeyboardInterrupt:
        return _INTERRUPTED


def _end_with(theirs: socket.socket) -> None:
    """At the other end is whoever asked for the prompt: nobody reads from a terminal for one that is gone."""
    poll = select.poll()
    poll.register(theirs, select.POLLHUP | select.POLLIN)
    poll.poll()
    os._exit(_INTERRUPTED)
