"""Priors: modules that return p(z), one per file."""
