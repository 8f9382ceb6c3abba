"""The benchmark and its baselines."""
