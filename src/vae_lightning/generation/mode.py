"""What every mode of `generate` does."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vae_lightning.models import Model
from vae_lightning.trained import Studio

if TYPE_CHECKING:  # importing it takes seconds, and not every mode looks at images
    from vae_lightning.data import ImageDataModule


@dataclass(frozen=True)
class Made:
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
    def check(self, model: Model) -> None:
        """Refuse what this model cannot make, before anything is read or written.

        Args:
            model: on the CPU.

        Raises:
            ValueError: one line that says what would do.
            UserError: the same, of files.
        """

    def check_data(self, data: Callable[[], "ImageDataModule"]) -> None:  # noqa: B027
        """Refuse what the data of training has not, before anything is read or written.

        A mode that does not look at the data leaves this as it is.

        Args:
            data: makes the data, unread.

        Raises:
            ValueError: one line that says what would do.
        """

    @abstractmethod
    def make(self, studio: Studio) -> Made:
        """Make it, and write it into the studio's folder; torch's noise is already seeded."""
