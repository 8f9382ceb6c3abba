"""The codebook of a vector-quantised model."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vae_lightning.utils.blocks import rows_at_once
from vae_lightning.utils.checks import at_least


class Codebook(nn.Module):
    r"""Codes: vectors that are running averages of the encoder's vectors assigned to them.

    .. math:: N_i \leftarrow \gamma N_i + (1 - \gamma)\, n_i, \quad
              m_i \leftarrow \gamma m_i + (1 - \gamma) \sum_{v \to i} v, \quad
              e_i = m_i / N_i

    where n_i is the number of vectors v of a batch whose nearest code is i. A code that is assigned
    too few restarts at a random vector of the batch, as all codes do at the first batch. With
    several processes, the codes follow the vectors of the first one, which broadcasts its buffers.

    Args:
        num_codes: how many codes.
        code_dim: E, length of a vector.
        decay: gamma.
        restart_below: codes that are assigned less than this fraction of an equal share of the
            vectors restart.

    Shape:
        vectors (N, E).

    Raises:
        ValueError: a number of codes or a length below 1, a decay or a fraction not in [0, 1).

    Example:
        >>> codebook = Codebook(num_codes=64, code_dim=16, decay=0.99, restart_below=0.03)
        >>> vectors = torch.randn(100, 16)
        >>> codebook.restart(vectors)
        >>> assigned = codebook.nearest(vectors)
        >>> codebook.follow(vectors, assigned)
        >>> codebook.codes[assigned].shape
        torch.Size([100, 16])

    References:
        Van den Oord, Vinyals and Kavukcuoglu, "Neural Discrete Representation Learning", 2017,
        https://arxiv.org/abs/1711.00937.
        Dhariwal et al., "Jukebox: A Generative Model for Music", 2020 (random restarts),
        https://arxiv.org/abs/2005.00341.
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
        """The index of the code nearest to each vector, int64 (N,)."""
        # The squared distance without |v|^2, which is the same for all codes.
        lengths = self.codes.square().sum(1)

        def nearest(rows: Tensor) -> Tensor:
            return torch.addmm(lengths, rows, self.codes.T, alpha=-2).argmin(1)

        # A matrix of all vectors and codes takes gigabytes for large maps.
        size = rows_at_once(2 * len(self.codes) * vectors.element_size())
        parts = (vectors,) if torch.compiler.is_exporting() else vectors.split(size)
        return torch.cat([nearest(rows) for rows in parts])

    @torch.no_grad()
    def restart(self, vectors: Tensor) -> None:
        """Move the unused codes to random vectors."""
        # A low count: the code restarts soon if it stays unused, and follows fast if it does not.
        count = 2 * self.restart_below * len(vectors) / len(self.codes)
        # At the first batch all counts are 0, so "<=" makes every code unused.
        unused = self.counts <= self.restart_below * self.counts.mean()
        indices = torch.randint(len(vectors), (len(self.codes),), device=vectors.device)
        chosen = vectors[indices].to(self.codes.dtype)
        self.counts.masked_fill_(unused, count)
        self.codes.copy_(torch.where(unused[:, None], chosen, self.codes))
        self.sums.copy_(torch.where(unused[:, None], count * chosen, self.sums))

    @torch.no_grad()
    def follow(self, vectors: Tensor, assigned: Tensor) -> None:
        """Update the running averages with vectors (N, E) assigned to codes, int64 (N,)."""
        members = F.one_hot(assigned, len(self.codes)).to(self.sums.dtype)  # (N, num_codes)
        total = torch.matmul(members.T, vectors.to(self.sums.dtype)).to(self.sums.dtype)
        self.counts.lerp_(members.sum(0), 1 - self.decay)
        self.sums.lerp_(total, 1 - self.decay)
        # A code without vectors keeps its average up to rounding, and must not divide by zero.
        tiny = torch.finfo(self.counts.dtype).tiny
        moved = self.sums / self.counts.clamp_min(tiny)[:, None]
        self.codes.copy_(torch.where(self.counts[:, None] > tiny, moved, self.codes))
