"""One model's detection: scores, threshold, decisions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vae_lightning.cli.workspace import Workspace
from vae_lightning.detection.decisions import Quality, quality, threshold_at
from vae_lightning.detection.inputs import Sources, Subjects, subjects_of
from vae_lightning.detection.scores import UNITS, Scorer
from vae_lightning.errors import DataError
from vae_lightning.metrics.bounds import bound_name


@dataclass(frozen=True)
class Scored:
    """What one score says.

    Attributes:
        name: of the score.
        values: of the subjects, float64 (N,); the higher, the more anomalous.
        validation: of the validation images, float64 (V,).
        threshold: above it an image is taken for an anomaly.
        quality: of the decisions, where both anomalies and normal images are known.
    """

    name: str
    values: Tensor
    validation: Tensor
    threshold: float
    quality: Quality | None

    @property
    def title(self) -> str:
        """Its name, for people."""
        return self.name.replace("_", " ")

    @property
    def flagged(self) -> Tensor:
        """Which subjects are taken for anomalies, bool (N,)."""
        return self.values > self.threshold

    @property
    def order(self) -> Tensor:
        """The places of the subjects, most anomalous first; of equals, the first one first."""
        return self.values.argsort(descending=True, stable=True)


@dataclass(frozen=True)
class Findings:
    """What detection found.

    Attributes:
        subjects: what was scored.
        scored: a line for each score; the first decides.
        protocol: all that has to be the same for the numbers to be the same.
    """

    subjects: Subjects
    scored: Sequence[Scored]
    protocol: Mapping[str, Any]

    @property
    def base_rate(self) -> float | None:
        """The share of anomalies among the subjects, where it is known."""
        anomaly = self.subjects.anomaly
        return None if anomaly is None else anomaly.double().mean().item()


def score_names(config: dict[str, Any]) -> list[str]:
    """The scores that a configuration names, the one that decides first."""
    chosen = config["detect"]["score"]
    return [chosen] if isinstance(chosen, str) else chosen


def find_anomalies(workspace: Workspace, sources: Sources) -> Findings:
    """Score the validation images and the subjects, and decide.

    Raises:
        DataError: the data cannot be had, or a score is not a number.
    """
    config, options = workspace.config, workspace.config["detect"]
    names = score_names(config)
    subjects = subjects_of(workspace, sources)
    training = workspace.images("train")[0] if "latent" in names else None
    scorer = Scorer(workspace.model, names, options["num_samples"], workspace.seed, training)
    validation, _ = workspace.images("val")
    normal = scorer(validation, "validation images")
    found = scorer(subjects.images, "images to score")
    known = subjects.anomaly is not None and len(subjects.anomaly.unique()) == 2
    scored = []
    for name in names:
        _check_finite(name, found[name], subjects.names)
        threshold = threshold_at(options["false_positive_rate"], normal[name])
        measured = None
        if known and subjects.anomaly is not None:
            measured = quality(found[name], subjects.anomaly, threshold)
        scored.append(Scored(name, found[name], normal[name], threshold, measured))
    checkpoint = workspace.checkpoint
    protocol = {
        "checkpoint": str(checkpoint.path),
        "epoch": checkpoint.epoch,
        "training_seed": checkpoint.config["seed"],
        "data": workspace.data.name,
        "held_out": list(workspace.data.protocol.held_out),
        "binarize": workspace.data.protocol.binarize,
        "bound": bound_name(workspace.data, workspace.model),
        "scored": subjects.title,
        "images": len(subjects.images),
        "anomalies": None if subjects.anomaly is None else int(subjects.anomaly.sum()),
        "validation_images": len(validation),
        "false_positive_rate_asked": options["false_positive_rate"],
        "num_samples": options["num_samples"],
        "seed": workspace.seed,
        "device": str(workspace.device),
        "torch": torch.__version__,
    }
    return Findings(subjects, scored, protocol)


def facts_of(findings: Findings) -> dict[str, Any]:
    """What is kept of the findings, as plain values."""
    scores = {
        scored.name: {
            "unit": UNITS[scored.name],
            "threshold": scored.threshold,
            "taken_for_anomalies": int(scored.flagged.sum()),
            "false_positive_rate_validation": (scored.validation > scored.threshold)
            .double()
            .mean()
            .item(),
            **(scored.quality.plain() if scored.quality else {}),
        }
        for scored in findings.scored
    }
    return {
        "decides": findings.scored[0].name,
        "positive_class": "anomaly",
        "base_rate": findings.base_rate,
        "scores": scores,
        "protocol": dict(findings.protocol),
    }


def _check_finite(name: str, scores: Tensor, names: Sequence[str]) -> None:
    strange = (~scores.isfinite()).nonzero().flatten().tolist()
    if strange:
        raise DataError(
            f"{name} of {names[strange[0]]} is {scores[strange[0]]:g}, no finite number: "
            "choose another detect.score"
        )
