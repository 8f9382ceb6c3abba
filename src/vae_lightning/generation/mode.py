"""The interface of the modes of `generate`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vae_lightning.cli.workspace import Workspace
from vae_lightning.models import Model

if TYPE_CHECKING:  # importing it takes seconds, and not every mode needs data
    from vae_lightning.data import ImageDataModule

# Builds the data module of training without reading any data.
DataFactory = Callable[[], "ImageDataModule"]


@dataclass(frozen=True)
class ModeResult:
    """The results of a mode.

    Attributes:
        files: the files and folders that were written, the main one first.
        facts: what `generate.json` records: plain values.
        table: rows to print: name, value, unit.
        notes: lines to print below the table, needed to read it correctly.
    """

    files: Sequence[Path]
    facts: Mapping[str, Any] = field(default_factory=dict)
    table: Sequence[tuple[str, str, str]] = ()
    notes: Sequence[str] = ()


class Mode(ABC):
    """A use of a trained model: one option of the group `mode`.

    The arguments of its constructor are the keys below `mode`.

    Example:
        >>> class CountWeightsMode(Mode):
        ...     def check(self, model: Model, data: DataFactory) -> None:
        ...         pass
        ...
        ...     def make(self, workspace: Workspace) -> ModeResult:
        ...         count = sum(weight.numel() for weight in workspace.model.parameters())
        ...         return ModeResult([], {"weights": count}, [("weights", f"{count:,}", "")])
    """

    @abstractmethod
    def check(self, model: Model, data: DataFactory) -> None:
        """Refuse what this model cannot do, before anything is written.

        Args:
            model: the trained model.
            data: builds the data module of training without reading data; a mode that needs no
                data does not call it.

        Raises:
            ValueError: one line that says what would work; if it begins with a key, it is about
                that key.
            UserError: the same, about files.
        """

    @abstractmethod
    def make(self, workspace: Workspace) -> ModeResult:
        """Write the results into the workspace's folder; torch's generators are seeded."""
