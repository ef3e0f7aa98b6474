"""What people get wrong in a protocol of their own: a change to examples/own_protocol/mine.py, and the line that tells
of it."""

from __future__ import annotations

from typing import NamedTuple


class Mistake(NamedTuple):
    """before, after: what is written in place of what. told: what the one line says, among other things."""

    before: str
    after: str
    told: str


AS_READ = {
    "clock": Mistake("IT_IS, TELL", "import time\nIT_IS, TELL", "mine.py:12: imports time: no I/O, clocks"),
    "dice": Mistake("IT_IS, TELL", "import random\nIT_IS, TELL", "mine.py:12: imports random: a run is a function of"),
    "socket": Mistake("IT_IS, TELL", "from socket import socket\nIT_IS, TELL", "mine.py:12: imports socket"),
    "library": Mistake("IT_IS, TELL", "import numpy\nIT_IS, TELL", "mine.py:12: imports numpy"),
    "agent": Mistake("IT_IS, TELL", "from testbed.nodes.agent import nic\nIT_IS, TELL", "not for machines"),
    "testbed": Mistake("IT_IS, TELL", "from testbed.plan import Plan\nIT_IS, TELL", "mine.py:12: imports testbed.plan"),
    "no neighbour": Mistake("IT_IS, TELL", "from .words import x\nIT_IS, TELL", "no file words.py beside it"),
    "above": Mistake("IT_IS, TELL", "from ..words import x\nIT_IS, TELL", "an engine is files of one folder"),
    "file": Mistake("        self.own: dict", "        open('/tmp/x')\n        self.own: dict", ": uses open"),
    "hash": Mistake("self.rank == 0", "hash(config.name) == 0", "mine.py:24: uses hash, which gives another number"),
    "async": Mistake("    def begin", "    async def begin", "mine.py:30: is asynchronous"),
    "syntax": Mistake("IT_IS, TELL_ME = 1, 2", "IT_IS, TELL_ME = = 1", "mine.py:12: SyntaxError: invalid syntax"),
    "name": Mistake("IT_IS, TELL_ME = 1, 2", "IT_IS, TELL_ME = one, 2", "mine.py:12: NameError: name 'one' is not"),
    "other class": Mistake("class Dictator", "class Dictater", "no class 'Dictator'; there is Dictater"),
    "no engine": Mistake("(InstanceMachine)", "", "Dictator: is no engine: it lacks on_start"),
    "unfinished": Mistake("def recall", "def recalls", "mine.py:15: Dictator: is unfinished: it lacks recall"),
    "field": Mistake('"rule"', '"rules"', "mine.py:15: Dictator: ENGINE knows no 'rules'; there are title"),
    "no mapping": Mistake("ENGINE = {", "ENGINE = 3\n    OTHER = {", "ENGINE must be a mapping with some of title"),
    "carries": Mistake('"bytes"', '"words"', "carries is 'words'; there are bytes, number, bit"),
    "no default": Mistake("patience: int = 1", "patience: int", "its argument patience is a setting: give it a type"),
    "no type": Mistake("patience: int = 1", "patience=1", "its argument patience is a setting: give it a type"),
    "odd type": Mistake("patience: int = 1", "patience: list = 1", "its argument patience is a setting"),
    "no pitfalls": Mistake("pitfalls: Collection[str] = ()", "bugs: Collection[str] = ()", "__init__ takes none"),
    "count": Mistake("lambda n: 0", "lambda n: None", "mine.py: most_f: TypeError: it answers with None, not with a"),
    "counting": Mistake("lambda n: 0", "lambda n: 1 // 0", "mine.py:20: most_f: ZeroDivisionError"),
}
"""Found before anything is run."""

AS_RUN = {
    "made": Mistake("self.rank == 0", "1 / self.rank", "mine.py:24: as host1 is made: ZeroDivisionError: division by"),
    "raises": Mistake(
        "return self._learn(instance, message.body)",
        "return [1 / 0]",
        "mine.py:41: as host2 hears DATA 1 of round 0 from host1 at ",
    ),
    "nothing": Mistake("return self._learn(instance, message.body)", "return None", "as host2 hears DATA 1 of round 0"),
    "no effect": Mistake(
        "return self._learn(instance, message.body)", "return [3]", "it answers with 3, which is no effect"
    ),
    "a port too far": Mistake(
        "return self._learn(instance, message.body)",
        "return [self.send(0, instance, IT_IS, b'')._replace(port=7)]",
        "it sends to port 7; its peers are behind ports 0 to 2",
    ),
    "to itself": Mistake("self.config.members[0], instance", "self.config.node, instance", "finds timer 'again "),
}
"""Found as it happens."""
