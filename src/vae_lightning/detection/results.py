"""The result of detection with one model: scores, thresholds, decisions."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from vae_lightning.cli.workspace import Workspace
from vae_lightning.detection.decisions import DetectionMetrics, detection_metrics, threshold_at
from vae_lightning.detection.inputs import DetectionInputs, InputSource, load_inputs
from vae_lightning.detection.scores import UNITS, Scorer
from vae_lightning.errors import DataError
from vae_lightning.metrics.bounds import bound_name


@dataclass(frozen=True)
class ScoreResult:
    """One score of all images, and the decisions from it.

    Attributes:
        name: of the score.
        values: of the inputs, float64 (N,); the higher, the more anomalous.
        validation: of the validation images, float64 (V,).
        threshold: images with higher scores are classified as anomalies.
        metrics: None unless the inputs have known anomalies and known normal images.
    """

    name: str
    values: Tensor
    validation: Tensor
    threshold: float
    metrics: DetectionMetrics | None

    @property
    def title(self) -> str:
        """Its name in reports."""
        return self.name.replace("_", " ")

    @property
    def decisions(self) -> Tensor:
        """Which inputs are classified as anomalies, bool (N,)."""
        return self.values > self.threshold

    @property
    def ranking(self) -> Tensor:
        """Indices of the inputs, most anomalous first; ties keep their order."""
        return self.values.argsort(descending=True, stable=True)


@dataclass(frozen=True)
class DetectionResult:
    """All scores of one model.

    Attributes:
        inputs: the images that were scored.
        scores: the result of each score; `scores.csv` has the decisions of the first.
        protocol: everything that the numbers depend on.
    """

    inputs: DetectionInputs
    scores: Sequence[ScoreResult]
    protocol: Mapping[str, Any]

    @property
    def base_rate(self) -> float | None:
        """The fraction of anomalies among the inputs; None if it is not known."""
        is_anomaly = self.inputs.is_anomaly
        return None if is_anomaly is None else is_anomaly.double().mean().item()


def score_names(config: dict[str, Any]) -> list[str]:
    """The scores of a configuration; the first one decides."""
    names = config["detect"]["score"]
    return [names] if isinstance(names, str) else names


def score_images(workspace: Workspace, source: InputSource) -> DetectionResult:
    """Score the validation images and the inputs, and classify the inputs.

    Raises:
        DataError: data is missing or cannot be read, or a score is not finite.
    """
    config, options = workspace.config, workspace.config["detect"]
    names = score_names(config)
    inputs = load_inputs(workspace, source)
    training_images = workspace.images("train")[0] if "latent" in names else None
    scorer = Scorer(workspace.model, names, options["num_samples"], workspace.seed, training_images)
    validation_images, _ = workspace.images("val")
    validation = scorer(validation_images, "validation images")
    values = scorer(inputs.images, "images to score")
    has_both = inputs.is_anomaly is not None and len(inputs.is_anomaly.unique()) == 2
    scores = []
    for name in names:
        _check_finite(name, values[name], inputs.names)
        threshold = threshold_at(options["false_positive_rate"], validation[name])
        metrics = None
        if has_both and inputs.is_anomaly is not None:
            metrics = detection_metrics(values[name], inputs.is_anomaly, threshold)
        scores.append(ScoreResult(name, values[name], validation[name], threshold, metrics))
    checkpoint = workspace.checkpoint
    protocol = {
        "checkpoint": str(checkpoint.path),
        "epoch": checkpoint.epoch,
        "training_seed": checkpoint.config["seed"],
        "data": workspace.data.name,
        "data_root": str(workspace.data.location),
        "files_of_training": checkpoint.origin.same_files(workspace.data),
        "held_out": list(workspace.data.protocol.held_out),
        "binarize": workspace.data.protocol.binarize,
        "bound": bound_name(workspace.data, workspace.model),
        "scored": inputs.title,
        "images": len(inputs.images),
        "anomalies": None if inputs.is_anomaly is None else int(inputs.is_anomaly.sum()),
        "validation_images": len(validation_images),
        "false_positive_rate_asked": options["false_positive_rate"],
        "num_samples": options["num_samples"],
        "seed": workspace.seed,
        "device": str(workspace.device),
        "torch": torch.__version__,
    }
    return DetectionResult(inputs, scores, protocol)


def summary(result: DetectionResult) -> dict[str, Any]:
    """The content of `detect.json`."""
    scores = {
        score.name: {
            "unit": UNITS[score.name],
            "threshold": score.threshold,
            "taken_for_anomalies": int(score.decisions.sum()),
            "false_positive_rate_validation": (score.validation > score.threshold)
            .double()
            .mean()
            .item(),
            **(asdict(score.metrics) if score.metrics else {}),
        }
        for score in result.scores
    }
    return {
        "decides": result.scores[0].name,
        "positive_class": "anomaly",
        "base_rate": result.base_rate,
        "scores": scores,
        "protocol": dict(result.protocol),
    }


def _check_finite(name: str, scores: Tensor, image_names: Sequence[str]) -> None:
    not_finite = (~scores.isfinite()).nonzero().flatten().tolist()
    if not_finite:
        index = not_finite[0]
        raise DataError(
            f"{name} of {image_names[index]} is {scores[index]:g}, which is not finite: "
            "choose another detect.score"
        )
