"""A parameter server: docs/services.md."""
