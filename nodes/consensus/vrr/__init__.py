"""Viewstamped Replication Revisited: nothing on a disk, views in turn, and lives that recover from the others."""
