"""A lock with fencing tokens: docs/services.md."""
