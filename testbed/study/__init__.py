"""Studies: sweeps over a scenario's parameters, the adaptive search for break points, statistics, closed forms."""
