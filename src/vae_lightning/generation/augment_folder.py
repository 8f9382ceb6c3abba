"""A labelled data set as a folder of images, and what came from where."""

import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from vae_lightning.drawing.grids import to_pil
from vae_lightning.generation.augment_methods import Labelled, Make, Method, blocks

COLUMNS = ("file", "label", "class", "origin", "source", "method", "seed")


class ImageFolderWriter:
    """Writes `images/<class>/<name>.png`, and a line for each file in `manifest.csv`.

    Args:
        folder: of both; it exists.
        class_names: by label.
        num_train: images in the training split.
        advance: is told of the images written.
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
        with self.manifest.open("x", newline="") as file:
            csv.writer(file).writerow(COLUMNS)

    def write_originals(self, train: Labelled) -> None:
        """Write the training images themselves."""
        places = torch.arange(len(train.labels))
        for some in places.split(1000):
            names = [f"original_{place:0{self.digits}}" for place in some.tolist()]
            rows = [("original", place, "", "") for place in some.tolist()]
            self._write(names, train.images[some], train.labels[some], rows)

    def write_made(
        self, make: Make, places: Tensor, labels: Tensor, method: Method, seed: int
    ) -> None:
        """Write what is made of the images at some places.

        Shape:
            places and labels int64 (M,).
        """
        digits = len(str(len(places) - 1))
        number = 0
        for images, some, own in blocks(make, places, labels):
            names, rows = [], []
            for place in some.tolist():
                of = f"{place:0{self.digits}}_" if method == "perturb" else ""
                names.append(f"generated_{of}{number:0{digits}}")
                rows.append(("generated", place if of else "", method, seed))
                number += 1
            self._write(names, images, own, rows)

    def _write(
        self, names: Sequence[str], images: Tensor, labels: Tensor, rows: Sequence[Sequence[object]]
    ) -> None:
        with self.manifest.open("a", newline="") as file:
            lines = csv.writer(file)
            for name, image, label, row in zip(names, images, labels.tolist(), rows, strict=True):
                path = self.images / self.class_folders[label] / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                to_pil(image).save(path)
                relative = path.relative_to(self.images.parent).as_posix()
                lines.writerow((relative, label, self.class_names[label], *row))
        self.advance(len(names))


def class_folders(names: Sequence[str]) -> list[str]:
    """A folder's name for each class, such that their order is that of the labels.

    The names themselves where they can be; otherwise with the label in front: `0_T-shirt`.
    """
    safe = [re.sub(r"[^\w.-]+", "_", name) for name in names]
    folded = [name.casefold() for name in safe]
    fits = safe == sorted(safe) and len(set(folded)) == len(folded) and safe == list(names)
    if fits and not any(name.startswith(".") or not name for name in safe):
        return safe
    digits = len(str(len(names) - 1))
    return [f"{label:0{digits}}_{name}" for label, name in enumerate(safe)]
