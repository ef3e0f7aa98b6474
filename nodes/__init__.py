"""What runs on one node: frames, sans-I/O protocol machines, and the agent that puts them on a NIC."""
