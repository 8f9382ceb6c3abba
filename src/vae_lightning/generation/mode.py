"""What every mode of `generate` does."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from vae_lightning.cli.workspace import Workspace
from vae_lightning.models import Model

if TYPE_CHECKING:  # importing it takes seconds, and not every mode looks at images
    from vae_lightning.data import ImageDataModule

# Makes the data of training, with nothing read.
MakeData = Callable[[], "ImageDataModule"]


def check_classes(model: Model, labels: Tensor) -> None:
    """Refuse classes that a conditional model does not know.

    Shape:
        labels int64 (N,).

    Raises:
        ValueError: the message begins with the key, `classes`.
    """
    try:
        model.check_labels(labels)
    except ValueError as error:
        raise ValueError(f"classes={labels.tolist()}: {error}") from error


@dataclass(frozen=True)
class ModeResult:
    """What a mode made.

    Attributes:
        files: what to open, the best first; a folder stands for all that is in it.
        facts: what is kept beside them, in `generate.json`: plain values.
        table: what is printed, a line each: name, value, unit.
        notes: what is printed below it, and has to be known to read it right.
    """

    files: Sequence[Path]
    facts: Mapping[str, Any] = field(default_factory=dict)
    table: Sequence[tuple[str, str, str]] = ()
    notes: Sequence[str] = ()


class Mode(ABC):
    """Something to make with a trained model: one option of the group `mode`.

    Its arguments are the keys below `mode`.
    """

    @abstractmethod
    def check(self, model: Model, data: MakeData) -> None:
        """Refuse what this model cannot make, before anything is written.

        Args:
            model: on the CPU.
            data: makes the data of training, unread; a mode that needs none does not call it.

        Raises:
            ValueError: one line that says what would do.
            UserError: the same, of files.
        """

    @abstractmethod
    def make(self, workspace: Workspace) -> ModeResult:
        """Make it, and write it into the workspace's folder; torch's noise is already seeded."""
