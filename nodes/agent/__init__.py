"""The agent: runs any Machine on real NICs, over AF_PACKET, EtherType 0x88B5.

``run`` is called in a process of its own, for one node inside that node's namespaces or for many at once. See
testbed.nodes.agent.process for what it does there, and testbed.nodes.agent.loop for what it does for each node.
"""

from testbed.nodes.agent.process import run

__all__ = ["run"]
