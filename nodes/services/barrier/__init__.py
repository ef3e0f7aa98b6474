"""A barrier: docs/services.md."""
