"""All-reduce: docs/services.md."""
