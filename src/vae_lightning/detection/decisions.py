"""From scores to decisions, and how good these are where the truth is known."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor


def threshold_at(false_positive_rate: float, scores: Tensor) -> float:
    """The score above which lies this share of some normal images: at most, and without ties all.

    Args:
        false_positive_rate: above 0 and below 1.
        scores: of the normal images.

    Shape:
        scores (N,).
    """
    # A share that is a whole number of images may be a rounding error below it.
    above = math.floor(false_positive_rate * len(scores) + 1e-6)
    return float(scores.sort(descending=True).values[min(above, len(scores) - 1)])


@dataclass(frozen=True)
class Quality:
    """How well a score tells anomalies, the positive class, from normal images.

    Attributes:
        auroc: area under the curve of true over false positive rate: the probability that an
            anomaly scores higher than a normal image; 0.5 of a guess.
        auprc: area under the curve of precision over recall, as the average precision; of a guess,
            the share of anomalies among the images.
        false_positive_rate: share of the normal images that are taken for anomalies.
        true_positive_rate: share of the anomalies that are found.
        precision: share of anomalies among those taken for one; None where there are none.
    """

    auroc: float
    auprc: float
    false_positive_rate: float
    true_positive_rate: float
    precision: float | None

    def plain(self) -> dict[str, Any]:
        """By name."""
        return asdict(self)


def quality(scores: Tensor, anomaly: Tensor, threshold: float) -> Quality:
    """Measure decisions.

    Args:
        scores: the higher, the more anomalous.
        anomaly: the truth; both kinds are there.
        threshold: above it an image is taken for an anomaly.

    Shape:
        scores (N,); anomaly bool (N,).
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    truth, values = anomaly.numpy(), scores.numpy()
    flagged = scores > threshold
    return Quality(
        auroc=float(roc_auc_score(truth, values)),
        auprc=float(average_precision_score(truth, values)),
        false_positive_rate=flagged[~anomaly].double().mean().item(),
        true_positive_rate=flagged[anomaly].double().mean().item(),
        precision=anomaly[flagged].double().mean().item() if flagged.any() else None,
    )
