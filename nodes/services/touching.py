"""What an entry of a service's log is about: whatever its operation touches."""

from __future__ import annotations

from dataclasses import dataclass

from testbed.nodes.core.commuting import Touch
from testbed.nodes.core.inputs import draw
from testbed.nodes.services.log import read_entry
from testbed.nodes.services.spec import ServiceSpec

CLASSES = 256
"""Parts of a service fall into so many classes; of two that fall into one, commands keep an order that need not."""


@dataclass(frozen=True)
class Touching:
    """Of the entries of ``service`` (testbed.nodes.core.commuting.Touches). A service that is not made of parts is one
    part."""

    service: ServiceSpec

    def __call__(self, entry: bytes) -> Touch:
        """What is no single operation may touch anything."""
        if self.service.part_of is None:
            return Touch(0)
        operations = read_entry(entry)
        if operations is None or len(operations) != 1:
            return Touch(None)
        command = operations[0].command
        part = self.service.part_of(command)
        return Touch(None) if part is None else Touch(draw("part", part), self.service.only_reads(command))
