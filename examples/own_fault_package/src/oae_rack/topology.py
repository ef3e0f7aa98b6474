"""A topology as people write them for Mininet."""

from mininet.topo import Topo


class TwoRacks(Topo):
    """Two switches, each with its hosts."""

    def build(self, hosts=2):
        racks = [self.addSwitch(f"leaf{place}") for place in (1, 2)]
        self.addLink(*racks, delay="20us")
        for place in range(2 * hosts):
            self.addLink(self.addHost(f"host{place + 1}"), racks[place // hosts], delay="5us")
