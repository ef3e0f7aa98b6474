"""Runs and studies as pages on this machine: what lies in a folder, and a server that shows it and changes nothing."""
