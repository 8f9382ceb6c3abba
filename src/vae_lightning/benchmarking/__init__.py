"""The baselines that the benchmark measures against."""
