"""Consensus engines, one folder each: machine or algorithm, messages, and notes that lead from the paper to the code.

``floodset`` and ``oae`` are round algorithms (testbed.nodes.oae.algorithm), run on rounds of bilateral swaps. ``paxos``
and ``ben_or`` are machines of their own (testbed.nodes.core), which send messages and know no swaps.
"""
