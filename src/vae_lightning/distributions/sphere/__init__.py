"""Distributions on the unit sphere, and the Bessel functions they need."""
