"""Maps of discrete codes: the posterior of a VQ-VAE, and an autoregressive prior over them."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, register_kl
from torch.nn import functional as F

from vae_lightning.utils.blocks import in_blocks
from vae_lightning.utils.checks import at_least


class CodePointMass(Distribution):
    """The posterior of a VQ-VAE: a point mass at one map of codes.

    Args:
        codes: int64, (B, h, w).
        vectors: the embeddings of the codes, (B, E, h, w), with the gradient to the encoder.
        distances: squared, of the encoder's vectors from the embeddings, summed over a map, (B,).

    Shape:
        batch shape (B,), event shape (h, w); `mean` is the vectors.
    """

    has_rsample = False
    arg_constraints: ClassVar = {}

    def __init__(self, codes: Tensor, vectors: Tensor, distances: Tensor) -> None:
        self.codes = codes
        self.vectors = vectors
        self.distances = distances
        super().__init__(codes.shape[:1], codes.shape[1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The embeddings, (B, E, h, w): codes themselves have no mean."""
        return self.vectors

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Return the codes, repeated: (*sample_shape, B, h, w)."""
        return self.codes.expand(*sample_shape, *self.codes.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """0 for the codes, minus infinity for other maps: value (..., B, h, w) to (..., B)."""
        equal = (value == self.codes).flatten(-2).all(-1)
        return equal.to(self.vectors.dtype).log()


class AutoregressiveCodes(Distribution):
    """The distribution that a `CodePrior` defines.

    Args:
        network: gives the logits of each code.
        temperature: the logits of each code are divided by it.

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
        return in_blocks(self._score, rows, owner=self.network).reshape(value.shape[:-2])

    def _score(self, rows: Tensor) -> Tensor:
        logits = self.network(rows).transpose(1, 2) / self.temperature  # (N, num_codes, L)
        return -F.cross_entropy(logits, rows, reduction="none").sum(1)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw maps code by code, int64 (*sample_shape, h, w)."""
        rows = self.network.draw(math.prod(sample_shape), self.temperature)
        return rows.reshape(*sample_shape, *self.event_shape)


@register_kl(CodePointMass, AutoregressiveCodes)
def _kl_codes(q: CodePointMass, p: AutoregressiveCodes) -> Tensor:
    return -p.log_prob(q.codes)


class CodePrior(nn.Module):
    r"""An autoregressive prior over maps of codes, in raster order: a causal transformer.

    .. math:: p(c) = \prod_{i=1}^{h w} p(c_i \mid c_1 \dots c_{i-1})

    Args:
        num_codes: size of the codebook.
        map_size: (h, w).
        width: size of the hidden states.
        heads: number of attention heads.
        layers: number of blocks.

    Shape:
        codes int64 (N, L), L = h*w; returns the logits of each code given those before it,
        (N, L, num_codes).

    Raises:
        ValueError: `width`, `heads` or `layers` below 1, or `heads` does not divide `width`.

    References:
        Vaswani et al., "Attention Is All You Need", 2017. https://arxiv.org/abs/1706.03762
        Xiong et al., "On Layer Normalization in the Transformer Architecture", 2020.
        https://arxiv.org/abs/2002.04745

    Example:
        >>> prior = CodePrior(num_codes=8, map_size=(7, 7), width=16, heads=2, layers=1)
        >>> codes = prior.distribution().sample((4,))
        >>> codes.shape, prior.distribution().log_prob(codes).shape
        (torch.Size([4, 7, 7]), torch.Size([4]))
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
        # One embedding more than codes: the start token.
        self.embedding = nn.Embedding(num_codes + 1, width)
        self.start = num_codes
        self.position = nn.Parameter(0.1 * torch.randn(self.length, width))
        self.blocks = nn.ModuleList([_Block(width, heads) for _ in range(layers)])
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, num_codes))

    def distribution(self) -> AutoregressiveCodes:
        """p(c): batch shape (), event shape (h, w)."""
        return AutoregressiveCodes(self)

    def forward(self, codes: Tensor) -> Tensor:
        before = F.pad(codes[:, :-1], (1, 0), value=self.start)
        x = self.embedding(before) + self.position  # (N, L, width)
        for block in self.blocks:
            x, _ = block(x, None)
        return self.head(x)

    def draw(self, count: int, temperature: float = 1.0) -> Tensor:
        """Draw codes one by one, int64 (count, L)."""
        code = torch.full((count, 1), self.start, device=self.position.device)
        cache: list[_Cache | None] = [None] * len(self.blocks)
        drawn = []
        for index in range(self.length):
            x = self.embedding(code) + self.position[index]  # (count, 1, width)
            for level, block in enumerate(self.blocks):
                x, cache[level] = block(x, cache[level])
            code = torch.multinomial((self.head(x[:, 0]) / temperature).softmax(-1), 1)
            drawn.append(code)
        return torch.cat(drawn, dim=1)


# Keys and values of the codes so far, (N, heads, L, width / heads) each.
_Cache = tuple[Tensor, Tensor]


class _Block(nn.Module):
    """Causal self-attention and a feed-forward network, each with a residual connection."""

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

    def forward(self, x: Tensor, cache: _Cache | None) -> tuple[Tensor, _Cache]:
        """With a cache of all codes before, x is the single code that follows them."""
        parts = self.attention(x).unflatten(-1, (3, self.heads, -1))  # (N, L, 3, heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        if cache is not None:
            key, value = torch.cat([cache[0], key], dim=2), torch.cat([cache[1], value], dim=2)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=cache is None)
        x = x + self.project(attended.transpose(1, 2).flatten(2))
        return x + self.dense(x), (key, value)
