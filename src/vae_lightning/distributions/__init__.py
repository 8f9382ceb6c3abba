"""Modules whose forward pass returns a `torch.distributions.Distribution`, and those distributions.

Posteriors, priors and likelihoods, one per file; the distributions that torch does not have.
"""
