"""Election of a leader: docs/services.md."""
