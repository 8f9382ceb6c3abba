"""Decisions from scores, and their metrics where the truth is known."""

import math
from dataclasses import dataclass

from torch import Tensor


def threshold_at(false_positive_rate: float, scores: Tensor) -> float:
    """The lowest threshold that at most this fraction of normal images exceeds.

    Without ties, exactly the largest number of images that is no more than the fraction exceeds it.

    Args:
        false_positive_rate: above 0 and below 1.
        scores: of normal images.

    Shape:
        scores (N,).

    Example:
        >>> import torch
        >>> threshold_at(0.1, torch.arange(100))
        89.0
    """
    # The tolerance is for products such as 0.29 * 100, which float arithmetic puts below 29.
    num_above = math.floor(false_positive_rate * len(scores) + 1e-6)
    return float(scores.sort(descending=True).values[min(num_above, len(scores) - 1)])


@dataclass(frozen=True)
class DetectionMetrics:
    """Metrics of scores and of decisions; anomalies are the positive class.

    Attributes:
        auroc: area under the ROC curve: the probability that an anomaly scores higher than a
            normal image. Random scores have 0.5.
        auprc: area under the precision-recall curve, as the average precision. Random scores
            have the fraction of anomalies among the images.
        false_positive_rate: fraction of the normal images above the threshold.
        true_positive_rate: fraction of the anomalies above the threshold.
        precision: fraction of anomalies among the images above the threshold; None if there are
            no such images.
    """

    auroc: float
    auprc: float
    false_positive_rate: float
    true_positive_rate: float
    precision: float | None


def detection_metrics(scores: Tensor, is_anomaly: Tensor, threshold: float) -> DetectionMetrics:
    """Compare scores and decisions with the truth.

    Args:
        scores: the higher, the more anomalous.
        is_anomaly: the truth, with at least one anomaly and one normal image.
        threshold: images with higher scores are classified as anomalies.

    Shape:
        scores (N,); is_anomaly bool (N,).
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    truth, values = is_anomaly.numpy(), scores.numpy()
    positive = scores > threshold
    return DetectionMetrics(
        auroc=float(roc_auc_score(truth, values)),
        auprc=float(average_precision_score(truth, values)),
        false_positive_rate=positive[~is_anomaly].double().mean().item(),
        true_positive_rate=positive[is_anomaly].double().mean().item(),
        precision=is_anomaly[positive].double().mean().item() if positive.any() else None,
    )
