"""What nodes propose: by name, not by a generator, so that it is the same in every engine and after a restart."""

from __future__ import annotations

import pytest
from builders import node_config

from testbed.nodes.core.inputs import draw, input_value
from testbed.nodes.core.values import to_int


def test_distinct_inputs_are_a_permutation_that_wanders_over_the_nodes() -> None:
    for instance in range(7):
        values = [to_int(input_value(node_config(node, 5, inputs="distinct"), instance)) for node in range(5)]
        assert sorted(values) == list(range(5))
        assert values.index(0) == -instance % 5


def test_random_inputs_are_fair_bits_named_by_seed_instance_and_node() -> None:
    bits = [
        to_int(input_value(node_config(node, 5, inputs="random", seed=seed), instance))
        for seed in range(4)
        for node in range(5)
        for instance in range(500)
    ]
    assert set(bits) == {0, 1}
    assert abs(sum(bits) / len(bits) - 0.5) < 3.89 * 0.5 / len(bits) ** 0.5  # error rate 1e-4; the seeds are fixed
    again = [input_value(node_config(0, 5, inputs="random", seed=0), instance) for instance in range(20)]
    assert bits[:20] == list(map(to_int, again))


def test_other_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match="'equal' are unknown; there are distinct, random"):
        input_value(node_config(0, 2, inputs="equal"), 0)


def test_draws_are_pinned() -> None:
    # a change here would change every published run
    assert draw("a", 1) != draw("a1")
    assert draw("a", 1) == draw("a", "1") == 9331952569449725121
