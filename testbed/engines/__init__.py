"""The three engines behind one interface: run(plan) -> History."""
