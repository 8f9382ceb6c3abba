"""Rows passed through a function in blocks, so that memory does not grow with their number."""

import math
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

# What the tensors of one block may take, in bytes. A batch of 1,000 MNIST images takes 20 MB in the
# default networks and 200 MB in the residual ones, so it is one block in all of them.
BLOCK_BYTES = 2**28

# Bytes of a row, by the module that it passes through and the row's shape.
_COSTS: WeakKeyDictionary[nn.Module, dict[Any, int]] = WeakKeyDictionary()


def peak_bytes(function: Callable[[], object]) -> int:
    """The largest total of the tensors that exist at once while a function runs, in bytes.

    Only tensors that it makes count. What a kernel allocates for itself is not seen.

    Example:
        >>> peak_bytes(lambda: (torch.ones(100) + 1).sum())
        800
    """
    with _LiveTensors() as live:
        function()
    return live.peak


def rows_at_once(bytes_of_row: int, most: int | None = None) -> int:
    """The number of rows in a block: at least 1, and at most `most`.

    Example:
        >>> rows_at_once(3 * 256 * 256 * 4, most=1000)  # float images
        341
    """
    rows = max(1, BLOCK_BYTES // max(1, bytes_of_row))
    return rows if most is None else min(rows, most)


def images_at_once(image_shape: Sequence[int], most: int, bytes_per_value: int = 4) -> int:
    """The number of images in a block: at least 1, and at most `most`.

    Args:
        image_shape: (C, H, W).
        most: the number that is enough for small images.
        bytes_per_value: 1 for bytes, 4 for floats.

    Example:
        >>> images_at_once((1, 28, 28), most=1000), images_at_once((3, 512, 512), most=1000)
        (1000, 85)
    """
    return rows_at_once(math.prod(image_shape) * bytes_per_value, most)


def in_blocks(
    function: Callable[..., Tensor],
    *rows: Tensor | None,
    owner: nn.Module | None = None,
    most: int | None = None,
) -> Tensor:
    """Apply a function to rows in blocks of at most `BLOCK_BYTES`, and concatenate the results.

    The size of a block follows from the memory that the first row takes. With gradients, which keep
    every tensor, or in training, where normalisation is over the batch, all rows are one block.

    Args:
        function: of rows, each of which it treats alike and independently of the others.
        rows: along the first dimension; None is passed on.
        owner: the module that the function runs; the memory is then measured once for it, and not
            at each call. If the function is a module, it is its own.
        most: rows in a block.

    Shape:
        rows (N, ...); returns (N, ...).

    Example:
        >>> in_blocks(lambda x: 2 * x, torch.arange(3.0))
        tensor([0., 2., 4.])
    """
    if torch.compiler.is_exporting():  # an exported graph has a fixed number of blocks
        return function(*rows)
    owner = function if owner is None and isinstance(function, nn.Module) else owner
    tensors = [part for part in rows if part is not None]
    count = len(tensors[0])
    training = owner is not None and owner.training
    if count <= 1 or training or torch.is_grad_enabled():
        return function(*rows)
    one = [None if part is None else part[:1] for part in rows]
    name = getattr(function, "__qualname__", "")
    size = rows_at_once(bytes_of(lambda: function(*one), owner, name, *one), most)
    if size >= count:
        return function(*rows)
    parts = [[None] * -(-count // size) if part is None else part.split(size) for part in rows]
    return torch.cat([function(*block) for block in zip(*parts, strict=True)])


def bytes_of(
    function: Callable[[], object], owner: nn.Module | None, name: str, *inputs: Tensor | None
) -> int:
    """`peak_bytes` of a function, which is measured once for an owner, name and shape of inputs."""
    if owner is None:
        return peak_bytes(function)
    costs = _COSTS.setdefault(owner, {})
    key = (name, *(None if part is None else (part.shape, part.dtype) for part in inputs))
    if key not in costs:
        costs[key] = peak_bytes(function)
    return costs[key]


class _LiveTensors(TorchFunctionMode):
    """Counts the bytes of the tensors that are made inside and still exist.

    Not a `TorchDispatchMode`, which sees more, and imports torch's compiler: 3 s.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._sizes: dict[StorageWeakRef, int] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = func(*args, **(kwargs or {}))
        before = {part.untyped_storage()._cdata for part in _tensors((args, kwargs))}
        for tensor in _tensors(outputs):
            storage = tensor.untyped_storage()
            # Views, and results in place, share the storage of what they were made of.
            if storage._cdata not in before:
                self._sizes[StorageWeakRef(storage)] = storage.nbytes()
        self._sizes = {ref: size for ref, size in self._sizes.items() if not ref.expired()}
        self.peak = max(self.peak, sum(self._sizes.values()))
        return outputs


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
