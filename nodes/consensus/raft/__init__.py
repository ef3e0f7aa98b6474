"""Raft with PreVote, CheckQuorum, joint consensus, snapshots, read index and transfer of leadership."""
