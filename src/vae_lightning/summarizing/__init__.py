"""Leaderboards of runs: what they were, how good they are, tables and pictures."""
