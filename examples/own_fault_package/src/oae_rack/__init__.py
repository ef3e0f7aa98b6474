"""What this package brings to the OAE testbed stands in its pyproject.toml."""
