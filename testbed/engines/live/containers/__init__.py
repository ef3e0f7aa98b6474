"""Containers as nodes: the image, the engine that runs it, and containers as owners of hosts' namespaces.

``live`` starts containers through an engine that speaks Docker's API (owner.py); in the guest of the virtual-time
kernel an OCI runtime runs the same image (runtime.py). Either way the agent is the container's own process and is told
through a socket what to run (boarding.py, testbed.nodes.agent.__main__).
"""
