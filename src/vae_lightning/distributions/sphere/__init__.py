"""Distributions on the unit sphere, and the Bessel functions that they need."""
