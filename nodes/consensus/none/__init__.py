"""Plain rounds of swaps: registers are exchanged and nothing is decided."""
