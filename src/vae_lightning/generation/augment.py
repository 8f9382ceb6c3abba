"""Augmentation of a labelled data set."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch

from vae_lightning.cli.workspace import Workspace
from vae_lightning.data import ImageDataModule
from vae_lightning.drawing.grids import png
from vae_lightning.errors import DataError
from vae_lightning.generation import augment_evaluation, augment_report
from vae_lightning.generation.augment_evaluation import AccuracyComparison
from vae_lightning.generation.augment_folder import ImageFolderWriter
from vae_lightning.generation.augment_methods import (
    Generate,
    LabelledImages,
    Method,
    generator,
    sources,
)
from vae_lightning.generation.mode import DataFactory, Mode, ModeResult
from vae_lightning.models import Model
from vae_lightning.utils.checks import all_at_least, at_least
from vae_lightning.utils.progress import progress


class AugmentMode(Mode):
    """Write the training split and generated images as a folder that `ImageFolder` reads.

    `images/<class>/` holds the images, and `manifest.csv` describes each one: `source` is the index
    in the training split of the image that it is, or was generated from. Images of the test split
    are used only to measure accuracy.

    Args:
        method: `conditional` draws samples of each class; `perturb` encodes an image, adds noise
            and decodes. None takes the first if the model is conditional, otherwise the second.
        per_class: images generated of each class.
        scale: of the noise of `perturb`; see `generation.augment_methods`.
        originals: whether the folder holds the original images too.
        measure: whether to train classifiers with and without the generated images; see
            `generation.augment_evaluation`.
        labels_per_class: labelled images of each class that classifiers are trained on.
        seeds: repetitions, with other images, initial weights and noise.
        steps: of each classifier's optimiser.

    Raises:
        ValueError: a value out of range.
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
            raise ValueError("labels_per_class=[] is empty: name sizes, or set mode.measure=false")
        self.method = method
        self.per_class = per_class
        self.scale = scale
        self.originals = originals
        self.measure = measure
        self.labels_per_class = sorted(set(labels_per_class))
        self.seeds = seeds
        self.steps = steps

    def check(self, model: Model, data: DataFactory) -> None:
        if self.method == "conditional" and model.num_classes is None:
            raise ValueError(
                "method=conditional: this model is not conditional: set mode.method=perturb, or "
                "train one with model=conditional"
            )
        if self._method(model) == "perturb" and model.latent_space == "simplex":
            raise ValueError(
                "method=perturb: the latents of this model are categories, which cannot be "
                "perturbed: use a model with another posterior, or a conditional one"
            )
        if model.image_shape[0] not in (1, 3):
            raise DataError(
                f"mode=augment writes PNGs of 1 or 3 channels, and this model's images have "
                f"{model.image_shape[0]}: use mode=samples mode.format=npz"
            )
        module = data()
        if not module.class_names:
            raise DataError(
                f"{module.source.title} has no labels, and mode=augment needs a labelled data "
                "set: use mode=samples"
            )

    def make(self, workspace: Workspace) -> ModeResult:
        method = self._method(workspace.model)
        data = _grey_data(workspace)
        images, labels = data.evaluated("train")
        inputs = images if data is workspace.data else workspace.images("train")[0]
        train = LabelledImages(images, inputs, labels)
        generate = generator(workspace.model, train, method, self.scale)

        originals, generated = self._write(workspace, data, train, generate)
        pictures = [workspace.folder / "augment.png"]
        pictures[0].write_bytes(png(augment_report.examples(train, generate, method)))
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
            comparisons, facts["accuracy"], notes = self._compare(workspace, data, train, generate)
            table += augment_report.rows(comparisons)
            if comparisons:
                pictures.append(workspace.folder / "accuracy.png")
                pictures[-1].write_bytes(png(augment_report.chart(comparisons)))
        files = [*pictures, workspace.folder / "images", workspace.folder / "manifest.csv"]
        return ModeResult(files, facts, table, notes)

    def _method(self, model: Model) -> Method:
        return self.method or ("perturb" if model.num_classes is None else "conditional")

    def _write(
        self,
        workspace: Workspace,
        data: ImageDataModule,
        train: LabelledImages,
        generate: Generate,
    ) -> tuple[int, int]:
        """Write folder and manifest; return the numbers of original and generated images."""
        count = len(train.labels)
        indices = sources(train.labels, torch.arange(count), self.per_class)
        originals = count if self.originals else 0
        with progress("images written", originals + len(indices)) as advance:
            writer = ImageFolderWriter(workspace.folder, data.class_names, count, advance)
            if self.originals:
                writer.write_originals(train)
            method = self._method(workspace.model)
            writer.write_generated(generate, indices, train.labels[indices], method, workspace.seed)
        return originals, len(indices)

    def _compare(
        self,
        workspace: Workspace,
        data: ImageDataModule,
        train: LabelledImages,
        generate: Generate,
    ) -> tuple[list[AccuracyComparison], dict[str, Any], list[str]]:
        """The comparisons of accuracy, what is recorded of them, and notes."""
        smallest = augment_evaluation.smallest_class(train.labels)
        sizes = [size for size in self.labels_per_class if size <= smallest]
        left_out = [size for size in self.labels_per_class if size > smallest]
        seeds = range(workspace.seed, workspace.seed + self.seeds)
        total = 2 * len(sizes) * len(seeds) * self.steps * augment_evaluation.BATCH_SIZE
        with progress("images classified", total) as advance:
            comparisons = augment_evaluation.compare(
                (train.images, train.labels),
                data.evaluated("test"),
                generate,
                num_classes=len(data.class_names),
                sizes=sizes,
                seeds=seeds,
                per_class=self.per_class,
                steps=self.steps,
                device=workspace.device,
                advance=advance,
            )
        conditional = workspace.model.num_classes is not None
        model_note = augment_report.model_labels_note(conditional, len(train.labels))
        facts = {
            "model": model_note,
            "seeds": list(seeds),
            "steps": self.steps,
            "batch_size": augment_evaluation.BATCH_SIZE,
            "test_images": data.num_images["test"],
            "sizes": [comparison.facts() for comparison in comparisons],
            "left_out": left_out,
        }
        notes = [
            *augment_report.verdicts(comparisons),
            *augment_report.left_out(left_out, smallest),
            model_note,
        ]
        return comparisons, facts, notes


def _grey_data(workspace: Workspace) -> ImageDataModule:
    """The data before any binarisation: generated images are means, which are grey."""
    if workspace.data.protocol.binarize == "none":
        return workspace.data
    data = workspace.data_with(binarize="none")
    data.setup("test")
    return data
