"""Zab: a log in the order of its primaries, each of which brings a quorum up to date before it adds to it."""
