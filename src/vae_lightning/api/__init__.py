"""The Python interface: a function for each command, `fit` for arrays, and a transformer."""
