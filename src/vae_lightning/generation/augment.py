"""A labelled data set enlarged by a model."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch

from vae_lightning.cli.workspace import Workspace
from vae_lightning.data import ImageDataModule
from vae_lightning.drawing.grids import png
from vae_lightning.errors import DataError
from vae_lightning.generation import augment_evaluation, augment_report
from vae_lightning.generation.augment_evaluation import Worth
from vae_lightning.generation.augment_folder import ImageFolderWriter
from vae_lightning.generation.augment_methods import Labelled, Make, Method, maker, plan
from vae_lightning.generation.mode import MakeData, Mode, ModeResult
from vae_lightning.models import Model
from vae_lightning.utils.checks import all_at_least, at_least
from vae_lightning.utils.progress import progress


class Augment(Mode):
    """The training split and what a model makes of it, as a folder that `ImageFolder` reads.

    `images/<class>/` holds the images, and `manifest.csv` what each of them is: `source` is the
    place of the image in the training split that it is, or was made of. No image of the test split
    is used, but to measure what the enlarged data set is worth.

    Args:
        method: `conditional` draws samples of each class; `perturb` encodes an image, adds noise
            and decodes. None takes the first where the model is conditional.
        per_class: images made of each class.
        scale: of the noise of `perturb`; see `generation.enlargement`.
        originals: whether the folder holds the original images too.
        measure: whether classifiers are trained with and without; see `augment_evaluation`.
        labels_per_class: labelled images of each class that they are given.
        seeds: how often, with other images, weights and noise.
        steps: of each classifier's optimiser.
    """

    def __init__(
        self,
        method: Literal["conditional", "perturb"] | None,
        per_class: int,
        scale: float,
        originals: bool,
        measure: bool,
        labels_per_class: Sequence[int],
        seeds: int,
        steps: int,
    ) -> None:
        at_least("per_class", per_class, 1)
        if not 0 <= scale < math.inf:
            raise ValueError(f"scale={scale} is out of range: it must be a finite number from 0 on")
        all_at_least("labels_per_class", labels_per_class, 1)
        at_least("seeds", seeds, 2)
        at_least("steps", steps, 1)
        if measure and not labels_per_class:
            raise ValueError("labels_per_class=[] is empty: name some, or set mode.measure=false")
        self.method = method
        self.per_class = per_class
        self.scale = scale
        self.originals = originals
        self.measure = measure
        self.labels_per_class = sorted(set(labels_per_class))
        self.seeds = seeds
        self.steps = steps

    def check(self, model: Model, data: MakeData) -> None:
        if self.method == "conditional" and model.num_classes is None:
            raise ValueError(
                "method=conditional: this model knows no classes: set mode.method=perturb, or "
                "train one with model=conditional"
            )
        if self._method(model) == "perturb" and model.latent_space == "simplex":
            raise ValueError(
                "method=perturb: the latents of this model are categories, which cannot be moved "
                "a little: use a model with another posterior, or a conditional one"
            )
        if model.image_shape[0] not in (1, 3):
            raise DataError(
                f"mode=augment writes PNGs of 1 or 3 channels, and this model's images have "
                f"{model.image_shape[0]}"
            )
        unread = data()
        if not unread.class_names:
            raise DataError(
                f"{unread.source.title} has no labels, and mode=augment enlarges a labelled data "
                "set: use mode=samples"
            )

    def make(self, workspace: Workspace) -> ModeResult:
        method = self._method(workspace.model)
        data = _grey(workspace)
        images, labels = data.evaluated("train")
        train = Labelled(images, workspace.images("train")[0], labels)
        make = maker(workspace.model, train, method, self.scale)

        originals, generated = self._write(workspace, data, train, make)
        pictures = [workspace.folder / "augment.png"]
        pictures[0].write_bytes(png(augment_report.examples(train, make, method)))
        facts: dict[str, Any] = {
            "data": data.name,
            "method": method,
            "scale": self.scale if method == "perturb" else None,
            "per_class": self.per_class,
            "originals": originals,
            "generated": generated,
        }
        table = [
            ("original images", f"{originals:,}", f"{data.source.title}, training split"),
            ("generated images", f"{generated:,}", f"{self.per_class:,} of each class, {method}"),
        ]
        notes: list[str] = []
        if self.measure:
            worths, facts["worth"], notes = self._measure(workspace, data, train, make)
            table += augment_report.rows(worths)
            if worths:
                pictures.append(workspace.folder / "accuracy.png")
                pictures[-1].write_bytes(png(augment_report.chart(worths)))
        files = [*pictures, workspace.folder / "images", workspace.folder / "manifest.csv"]
        return ModeResult(files, facts, table, notes)

    def _method(self, model: Model) -> Method:
        return self.method or ("perturb" if model.num_classes is None else "conditional")

    def _write(
        self, workspace: Workspace, data: ImageDataModule, train: Labelled, make: Make
    ) -> tuple[int, int]:
        """Write folder and manifest; return how many originals and how many made images."""
        everywhere = torch.arange(len(train.labels))
        places = plan(train.labels, everywhere, self.per_class)
        originals = len(everywhere) if self.originals else 0
        with progress("images written", originals + len(places)) as advance:
            writer = ImageFolderWriter(workspace.folder, data.class_names, len(everywhere), advance)
            if self.originals:
                writer.write_originals(train)
            method = self._method(workspace.model)
            writer.write_made(make, places, train.labels[places], method, workspace.seed)
        return originals, len(places)

    def _measure(
        self, workspace: Workspace, data: ImageDataModule, train: Labelled, make: Make
    ) -> tuple[list[Worth], dict[str, Any], list[str]]:
        """What it is worth: the figures, what is kept of them, and what is said."""
        smallest = augment_evaluation.smallest_class(train.labels)
        sizes = [size for size in self.labels_per_class if size <= smallest]
        missing = [size for size in self.labels_per_class if size > smallest]
        seeds = range(workspace.seed, workspace.seed + self.seeds)
        total = 2 * len(sizes) * len(seeds) * self.steps * augment_evaluation.BATCH_SIZE
        with progress("images classified", total) as advance:
            worths = augment_evaluation.measure(
                (train.images, train.labels),
                data.evaluated("test"),
                make,
                num_classes=len(data.class_names),
                sizes=sizes,
                seeds=seeds,
                per_class=self.per_class,
                steps=self.steps,
                device=workspace.device,
                advance=advance,
            )
        saw = augment_report.what_the_model_saw(
            workspace.model.num_classes is not None, len(train.labels)
        )
        left_out = augment_report.left_out(missing, smallest)
        facts = {
            "model": saw,
            "seeds": list(seeds),
            "steps": self.steps,
            "batch_size": augment_evaluation.BATCH_SIZE,
            "test_images": data.num_images["test"],
            "sizes": [worth.facts() for worth in worths],
            "left_out": missing,
        }
        return worths, facts, [*augment_report.verdicts(worths), *left_out, saw]


def _grey(workspace: Workspace) -> ImageDataModule:
    """The data before any binarisation: what is made are mean images, which are grey."""
    if workspace.data.protocol.binarize == "none":
        return workspace.data
    data = workspace.data_with(binarize="none")
    data.setup("test")
    return data
