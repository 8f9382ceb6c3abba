"""Build a run from a configuration, train it, and report."""
