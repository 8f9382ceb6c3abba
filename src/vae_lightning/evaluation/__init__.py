"""Metrics of a trained model, their report, and the files they are written to."""
