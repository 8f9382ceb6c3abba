"""An augmented data set as a folder of images with a manifest."""

import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from vae_lightning.drawing.grids import to_pil
from vae_lightning.generation.augment_methods import (
    Generate,
    LabelledImages,
    Method,
    generated_batches,
)

COLUMNS = ("file", "label", "class", "origin", "source", "method", "seed")


class ImageFolderWriter:
    """Writes `images/<class>/<name>.png`, and a row for each file in `manifest.csv`.

    Args:
        folder: of both; it exists.
        class_names: by label.
        num_train: images in the training split.
        advance: called with the number of images just written.
    """

    def __init__(
        self,
        folder: Path,
        class_names: Sequence[str],
        num_train: int,
        advance: Callable[[int], None],
    ) -> None:
        self.images = folder / "images"
        self.manifest = folder / "manifest.csv"
        self.class_names = class_names
        self.class_folders = class_folders(class_names)
        self.digits = len(str(num_train - 1))
        self.advance = advance
        with self.manifest.open("x", encoding="utf-8", newline="") as file:
            csv.writer(file).writerow(COLUMNS)

    def write_originals(self, train: LabelledImages) -> None:
        """Write the training images themselves."""
        for part in torch.arange(len(train.labels)).split(1000):
            names = [f"original_{index:0{self.digits}}" for index in part.tolist()]
            rows = [("original", index, "", "") for index in part.tolist()]
            self._write(names, train.images[part], train.labels[part], rows)

    def write_generated(
        self, generate: Generate, indices: Tensor, labels: Tensor, method: Method, seed: int
    ) -> None:
        """Write an image generated from each of some training images.

        Shape:
            indices and labels int64 (M,).
        """
        digits = len(str(len(indices) - 1))
        number = 0
        for images, sources, batch_labels in generated_batches(generate, indices, labels):
            names, rows = [], []
            for index in sources.tolist():
                # A sample of a class has no source.
                source = f"{index:0{self.digits}}_" if method == "perturb" else ""
                names.append(f"generated_{source}{number:0{digits}}")
                rows.append(("generated", index if source else "", method, seed))
                number += 1
            self._write(names, images, batch_labels, rows)

    def _write(
        self, names: Sequence[str], images: Tensor, labels: Tensor, rows: Sequence[Sequence[object]]
    ) -> None:
        with self.manifest.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            for name, image, label, row in zip(names, images, labels.tolist(), rows, strict=True):
                path = self.images / self.class_folders[label] / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                to_pil(image).save(path)
                relative = path.relative_to(self.images.parent).as_posix()
                writer.writerow((relative, label, self.class_names[label], *row))
        self.advance(len(names))


def class_folders(names: Sequence[str]) -> list[str]:
    """Names of folders for the classes, which sort in the order of the labels.

    They are the names of the classes if these are valid; otherwise the label comes first.

    Example:
        >>> class_folders(["cat", "dog"])
        ['cat', 'dog']
        >>> class_folders(["T-shirt", "ankle boot"])
        ['0_T-shirt', '1_ankle_boot']
    """
    safe = [re.sub(r"[^\w.-]+", "_", name) for name in names]
    folded = [name.casefold() for name in safe]
    valid = safe == sorted(safe) and len(set(folded)) == len(folded) and safe == list(names)
    if valid and not any(name.startswith(".") or not name for name in safe):
        return safe
    digits = len(str(len(names) - 1))
    return [f"{label:0{digits}}_{name}" for label, name in enumerate(safe)]
