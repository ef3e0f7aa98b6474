"""Every order in which things can happen: breadth-first, or at random, over the machines that the agents run.

A node's state is real: its machine behind a driver, its timers, its disk. A world is what all nodes are in, and what is
under way between them; see world.py for what can happen in one, and docs/explorer.md for how to use it.
"""
