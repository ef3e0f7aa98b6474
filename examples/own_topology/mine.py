"""A topology as people write them for Mininet: `mn --custom mine.py --topo comb,4` runs it, and so does
`testbed up --custom mine.py comb,4`."""

from itertools import pairwise

from mininet.topo import Topo


class Comb(Topo):
    """A row of switches with a host on each; the row's links are slow, and lose a frame now and then."""

    def build(self, teeth=3, slow="2ms"):
        switches = [self.addSwitch(f"s{place}") for place in range(1, teeth + 1)]
        for place, switch in enumerate(switches, start=1):
            self.addLink(self.addHost(f"h{place}", mac=f"02:00:00:00:00:{place:02x}"), switch, bw=100)
        for one, other in pairwise(switches):
            self.addLink(one, other, delay=slow, jitter="100us", loss=1, max_queue_size=50)


topos = {"comb": Comb}

if __name__ == "__main__":  # for Mininet alone: the testbed does not run what stands here
    from mininet.cli import CLI
    from mininet.net import Mininet

    net = Mininet(topo=Comb(4))
    net.start()
    CLI(net)
    net.stop()
