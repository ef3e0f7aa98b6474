"""The testbed's nodes, links and topologies for plain ``mn`` (the one of the project's own environment):

mn --custom testbed/engines/live/mn_custom.py --topo leaf_spine,2,4,2 \\
   --host held --switch static --link impaired,delay_ns=5000,jitter_ns=1000 --controller none

``mn`` adds the dictionaries topos, hosts and switches to its own, and sets everything else as its global variables:
that is how its links are extended.
"""

import sys
from pathlib import Path

from mininet.link import Link, OVSLink, TCLink, TCULink

# `mn` runs this file's text, so that it has no __file__ of its own.
sys.path.insert(0, str(Path(sys._getframe().f_code.co_filename).resolve().parents[3]))

from testbed.engines.live.mininet_nodes import HeldHost, ImpairedLink, StaticBridge
from testbed.topologies.build import KINDS

topos = {name: kind.topo for name, kind in KINDS.items()}
hosts = {"held": HeldHost}
switches = {"static": StaticBridge}
LINKS = {"default": Link, "tc": TCLink, "tcu": TCULink, "ovs": OVSLink, "impaired": ImpairedLink}
