"""The codes of a quantised model, and how they follow the encoder."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vae_lightning.utils.checks import at_least


class Codebook(nn.Module):
    r"""Vectors that stand for those near them: running averages of what was assigned to them.

    .. math:: N_i \leftarrow \gamma N_i + (1 - \gamma)\, n_i, \quad
              m_i \leftarrow \gamma m_i + (1 - \gamma) \sum_{v \to i} v, \quad
              e_i = m_i / N_i

    with n_i the number of vectors v of a batch whose nearest code is i. A code that gets too few is
    put onto a random vector of the batch, as are all codes at the first. With several processes it
    follows the vectors of the first, whose buffers the others get.

    Args:
        num_codes: how many codes.
        code_dim: E, length of a vector.
        decay: gamma.
        restart_below: codes that get less than this fraction of an equal share begin anew.

    Shape:
        vectors (N, E).

    Raises:
        ValueError: a number of codes or a length below 1, a decay or a fraction not in [0, 1).

    References:
        Van den Oord, Vinyals and Kavukcuoglu, "Neural Discrete Representation Learning", 2017.
        Dhariwal et al., "Jukebox: A Generative Model for Music", 2020 (random restarts).
    """

    codes: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, num_codes: int, code_dim: int, decay: float, restart_below: float) -> None:
        super().__init__()
        at_least("num_codes", num_codes, 1)
        at_least("code_dim", code_dim, 1)
        for name, value in (("decay", decay), ("restart_below", restart_below)):
            if not 0 <= value < 1:
                raise ValueError(f"{name}={value} is out of range: from 0 to less than 1")
        self.decay = decay
        self.restart_below = restart_below
        self.register_buffer("codes", torch.randn(num_codes, code_dim))
        self.register_buffer("counts", torch.zeros(num_codes))
        self.register_buffer("sums", torch.zeros(num_codes, code_dim))

    def nearest(self, vectors: Tensor) -> Tensor:
        """The code that is nearest to each vector, int64 (N,)."""
        # The squared distance, less the vector's own length.
        lengths = self.codes.square().sum(1)
        return torch.addmm(lengths, vectors, self.codes.T, alpha=-2).argmin(1)

    @torch.no_grad()
    def restart(self, vectors: Tensor) -> None:
        """Put codes that are not in use onto some of the vectors."""
        # Just above too few: gone soon where it is of no use, and quick to follow where it is.
        share = 2 * self.restart_below * len(vectors) / len(self.codes)
        # No more than none at all is what every code has at the first batch.
        unused = self.counts <= self.restart_below * self.counts.mean()
        places = torch.randint(len(vectors), (len(self.codes),), device=vectors.device)
        chosen = vectors[places].to(self.codes.dtype)
        self.counts.masked_fill_(unused, share)
        self.codes.copy_(torch.where(unused[:, None], chosen, self.codes))
        self.sums.copy_(torch.where(unused[:, None], share * chosen, self.sums))

    @torch.no_grad()
    def follow(self, vectors: Tensor, assigned: Tensor) -> None:
        """Move the codes towards the vectors that were assigned to them, by int64 (N,)."""
        members = F.one_hot(assigned, len(self.codes)).to(self.sums.dtype)  # (N, num_codes)
        total = torch.matmul(members.T, vectors.to(self.sums.dtype)).to(self.sums.dtype)
        self.counts.lerp_(members.sum(0), 1 - self.decay)
        self.sums.lerp_(total, 1 - self.decay)
        # A code without any stays where it is, up to rounding, and must not divide by zero.
        tiny = torch.finfo(self.counts.dtype).tiny
        moved = self.sums / self.counts.clamp_min(tiny)[:, None]
        self.codes.copy_(torch.where(self.counts[:, None] > tiny, moved, self.codes))
