"""Maps of codes: a point mass at what an encoder chose, and an autoregressive prior."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, register_kl
from torch.nn import functional as F

from vae_lightning.utils.checks import at_least

# Maps scored at a time, where no gradient is asked for: a metric may have thousands.
_SCORED = 500


class CodeMaps(Distribution):
    """The posterior of a quantised model: all its mass on one map of codes.

    Args:
        codes: int64, (B, h, w).
        vectors: what the codes stand for, (B, E, h, w), with the gradient to the encoder.

    Shape:
        batch shape (B,), event shape (h, w); `mean` is the vectors.
    """

    has_rsample = False
    arg_constraints: ClassVar = {}

    def __init__(self, codes: Tensor, vectors: Tensor) -> None:
        self.codes = codes
        self.vectors = vectors
        super().__init__(codes.shape[:1], codes.shape[1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The vectors, (B, E, h, w): codes themselves have no mean."""
        return self.vectors

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """The same codes each time, (*sample_shape, B, h, w)."""
        return self.codes.expand(*sample_shape, *self.codes.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """0 for the codes, minus infinity for others: (..., B) of value (..., B, h, w)."""
        hit = (value == self.codes).flatten(-2).all(-1)
        return hit.to(self.vectors.dtype).log()


class AutoregressiveCodeMaps(Distribution):
    """What a `CodePrior` returns.

    Args:
        network: the prior.
        temperature: what the logits of each code are divided by.

    Shape:
        batch shape (), event shape (h, w).
    """

    has_rsample = False
    arg_constraints: ClassVar = {}

    def __init__(self, network: "CodePrior", temperature: float = 1.0) -> None:
        self.network = network
        self.temperature = temperature
        super().__init__(torch.Size(), torch.Size(network.map_size), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of maps int64 (..., h, w), in nats; (...)."""
        rows = value.reshape(-1, math.prod(self.event_shape))
        parts = [rows] if torch.is_grad_enabled() else rows.split(_SCORED)
        log_prob = torch.cat([self._score(part) for part in parts])
        return log_prob.reshape(value.shape[:-2])

    def _score(self, rows: Tensor) -> Tensor:
        logits = self.network(rows).transpose(1, 2) / self.temperature  # (N, num_codes, L)
        return -F.cross_entropy(logits, rows, reduction="none").sum(1)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw maps, int64 (*sample_shape, h, w), code by code."""
        rows = self.network.draw(math.prod(sample_shape), self.temperature)
        return rows.reshape(*sample_shape, *self.event_shape)


@register_kl(CodeMaps, AutoregressiveCodeMaps)
def _kl_code_maps(q: CodeMaps, p: AutoregressiveCodeMaps) -> Tensor:
    return -p.log_prob(q.codes)


class CodePrior(nn.Module):
    r"""A distribution over maps of codes, each predicted from those before it, row by row.

    .. math:: p(c) = \prod_{i=1}^{h w} p(c_i \mid c_1 \dots c_{i-1})

    by a transformer whose attention looks back only.

    Args:
        num_codes: how many codes there are.
        map_size: (h, w).
        width: of the transformer.
        heads: of its attention.
        layers: how many blocks.

    Shape:
        codes int64 (N, L), L = h*w; returns the logits of p(c_i | those before), (N, L, num_codes).

    Raises:
        ValueError: a number below 1, or heads that do not divide the width.

    References:
        Vaswani et al., "Attention Is All You Need", 2017.
        Xiong et al., "On Layer Normalization in the Transformer Architecture", 2020.
    """

    def __init__(
        self, num_codes: int, map_size: Sequence[int], width: int, heads: int, layers: int
    ) -> None:
        super().__init__()
        at_least("width", width, 1)
        at_least("heads", heads, 1)
        at_least("layers", layers, 1)
        if width % heads:
            raise ValueError(f"heads={heads} does not divide width={width}")
        self.map_size = tuple(map_size)
        self.length = math.prod(map_size)
        # One more than codes: what stands before the first.
        self.embedding = nn.Embedding(num_codes + 1, width)
        self.start = num_codes
        self.position = nn.Parameter(0.1 * torch.randn(self.length, width))
        self.blocks = nn.ModuleList([_Block(width, heads) for _ in range(layers)])
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, num_codes))

    def distribution(self) -> AutoregressiveCodeMaps:
        """p(c): batch shape (), event shape (h, w)."""
        return AutoregressiveCodeMaps(self)

    def forward(self, codes: Tensor) -> Tensor:
        before = F.pad(codes[:, :-1], (1, 0), value=self.start)
        x = self.embedding(before) + self.position  # (N, L, width)
        for block in self.blocks:
            x, _ = block(x, None)
        return self.head(x)

    def draw(self, count: int, temperature: float = 1.0) -> Tensor:
        """Sample codes, int64 (count, L), at each place from the logits given those before."""
        code = torch.full((count, 1), self.start, device=self.position.device)
        memory: list[_Memory | None] = [None] * len(self.blocks)
        drawn = []
        for place in range(self.length):
            x = self.embedding(code) + self.position[place]  # (count, 1, width)
            for level, block in enumerate(self.blocks):
                x, memory[level] = block(x, memory[level])
            code = torch.multinomial((self.head(x[:, 0]) / temperature).softmax(-1), 1)
            drawn.append(code)
        return torch.cat(drawn, dim=1)


# Keys and values of the places so far, (N, heads, L, width / heads) each.
_Memory = tuple[Tensor, Tensor]


class _Block(nn.Module):
    """Attention to what came before and a dense layer, each beside the identity."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 3 * width))
        self.project = nn.Linear(width, width)
        self.dense = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
        )

    def forward(self, x: Tensor, memory: _Memory | None) -> tuple[Tensor, _Memory]:
        """With the memory of all places before, x is the one place after them."""
        parts = self.attention(x).unflatten(-1, (3, self.heads, -1))  # (N, L, 3, heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        if memory is not None:
            key, value = torch.cat([memory[0], key], dim=2), torch.cat([memory[1], value], dim=2)
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=memory is None)
        x = x + self.project(seen.transpose(1, 2).flatten(2))
        return x + self.dense(x), (key, value)
