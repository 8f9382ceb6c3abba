"""Which data a model was trained on, and whether other data is the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vae_lightning.data.datamodule import ImageDataModule

# Classes that a message names.
_MAX_NAMED = 12


@dataclass(frozen=True)
class DataOrigin:
    """What a data module saved about itself when a model was trained.

    Attributes:
        root: absolute path of its folder or file; None if it is not known.
        fingerprint: of its files, by `data.fingerprint`; None if there were none.
        class_names: None if they are not known.
    """

    root: str | None = None
    fingerprint: Mapping[str, Any] | None = None
    class_names: Sequence[str] | None = None

    def find(self, written: str, shared: bool) -> str:
        """Where the data is now: where it was in training, or at the path as it was written.

        Args:
            written: the path in the configuration, relative to the folder where training started.
            shared: whether the data can be downloaded again.
        """
        if self.root is None or Path(self.root).exists():
            return self.root or written
        # A project that was moved as a whole has it there. A download goes into a folder of here.
        return written if shared or Path(written).expanduser().exists() else self.root

    def same_files(self, data: "ImageDataModule") -> bool | None:
        """Whether data has the files of training; None if one of them is not known."""
        now = data.fingerprint()
        return None if self.fingerprint is None or now is None else self.fingerprint == now

    def same_order(self, data: "ImageDataModule", order: str | None) -> bool:
        """Whether classes have the numbers of training; True if their names differ.

        Args:
            data: to compare.
            order: `data.class_order` of training; None if the data has no such key.
        """
        now = list(data.class_names)
        before = self.class_names
        if before is None:
            before = sorted(now) if order == "text" else now
        return now == list(before) or sorted(now) != sorted(before)

    def difference(self, data: "ImageDataModule") -> str:
        """How many files, and which classes, there were and are."""
        before, now = self.fingerprint or {}, data.fingerprint() or {}
        line = f"{_amount(before)} then, {_amount(now)} now"
        if self.class_names is not None and list(self.class_names) != list(data.class_names):
            line += f"; its classes were {shortened(self.class_names)}"
        return line


def shortened(class_names: Sequence[str]) -> str:
    """The first names of a list, for messages."""
    more = ", ..." if len(class_names) > _MAX_NAMED else ""
    return (", ".join(class_names[:_MAX_NAMED]) or "none") + more


def _amount(fingerprint: Mapping[str, Any]) -> str:
    return f"{fingerprint.get('files', 0):,} files of {fingerprint.get('bytes', 0):,} bytes"
