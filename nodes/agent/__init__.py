"""The agent: runs any Machine on real NICs, over AF_PACKET, EtherType 0x88B5.

``run`` is called in a process of its own inside the node's namespaces. See nodes.agent.loop for what it does there.
"""

from nodes.agent.loop import run

__all__ = ["run"]
