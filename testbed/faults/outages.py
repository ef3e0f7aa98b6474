"""Which links and switches are down, and what that means for interfaces and forwarding: the same in every engine."""

from __future__ import annotations

from testbed.plan import Fault
from testbed.topologies.fabric import Fabric, Link, LinkEnd
from testbed.topologies.paths import forwarding_around


class Outages:
    """Of one fabric. A link is down at the end at a switch (the first of two), or else at its second end; the other end
    loses the carrier. A switch is down at all its ends. What is down twice comes up when it has come up twice.
    """

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self._links: set[int] = set()
        self._switches: set[str] = set()

    def strike(self, fault: Fault) -> tuple[list[LinkEnd], list[LinkEnd]]:
        """What ``fault`` takes down and what it brings up, in the order of the fabric's links."""
        before = self._down()
        links = {link for link, _ in fault.links}
        if fault.verb == "link_down":
            self._links |= links
        elif fault.verb == "link_up":
            self._links -= links
        elif fault.verb == "switch_kill":
            self._switches.add(fault.target)
        else:
            self._switches.discard(fault.target)
        after = self._down()
        return [end for end in after if end not in before], [end for end in before if end not in after]

    def forwarding(self) -> dict[str, dict[str, str]]:
        """The tables around what is down now."""
        return forwarding_around(self.fabric, self._links, self._switches)

    def _down(self) -> dict[LinkEnd, None]:
        found: dict[LinkEnd, None] = {}
        for index, link in enumerate(self.fabric.links):
            if index in self._links:
                found[self._carrier(link)] = None
            for end in (link.a, link.b):
                if end.node in self._switches:
                    found[end] = None
        return found

    def _carrier(self, link: Link) -> LinkEnd:
        return link.a if link.a.node in self.fabric.switches else link.b
