"""An atomic register for configurations: docs/services.md."""
