"""Counts what is allocated, which does not depend on the machine."""

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Largest(TorchDispatchMode):
    """The size of the largest tensor that is made inside, in bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = func(*args, **(kwargs or {}))
        given = {id(part) for part in tree_leaves((args, kwargs)) if isinstance(part, Tensor)}
        for part in tree_leaves(outputs):
            if isinstance(part, Tensor) and id(part) not in given:
                self.bytes = max(self.bytes, part.untyped_storage().nbytes())
        return outputs
