"""Anomaly detection: scores of images under a trained model, and decisions from them."""
