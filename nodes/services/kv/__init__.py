"""A replicated key-value store: get, put, and compare-and-set."""
