"""Modules whose forward pass returns a `torch.distributions.Distribution`."""
