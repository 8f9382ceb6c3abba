"""Thresholds at a false positive rate, and metrics of scores and decisions."""

import pytest
import torch

from vae_lightning.detection.decisions import detection_metrics, threshold_at


def test_a_threshold_is_exceeded_by_the_given_fraction_of_the_scores() -> None:
    scores = torch.randperm(1000, generator=torch.Generator().manual_seed(0)).double()
    for rate in (0.05, 0.001, 0.29, 0.999):
        assert int((scores > threshold_at(rate, scores)).sum()) == round(rate * 1000)
    # 0.29 * 100 is less than 29 in float arithmetic.
    assert int((scores[:100] > threshold_at(0.29, scores[:100])).sum()) == 29
    # 0.2 of 7 images are 1.4 images: at most that many exceed the threshold.
    assert int((scores[:7] > threshold_at(0.2, scores[:7])).sum()) == 1


def test_equal_scores_do_not_exceed_the_threshold_together() -> None:
    scores = torch.tensor([1.0, 2.0, 2.0, 2.0])
    assert threshold_at(0.5, scores) == 2.0


def test_perfect_and_reversed_scores_have_an_auroc_of_one_and_zero() -> None:
    is_anomaly = torch.tensor([False] * 8 + [True] * 2)
    perfect = detection_metrics(torch.arange(10).double(), is_anomaly, threshold=6.5)
    assert (perfect.auroc, perfect.auprc) == (1.0, 1.0)
    assert (perfect.false_positive_rate, perfect.true_positive_rate) == (1 / 8, 1.0)
    assert perfect.precision == pytest.approx(2 / 3)
    wrong = detection_metrics(-torch.arange(10).double(), is_anomaly, threshold=1.0)
    assert wrong.auroc == 0.0
    # The anomalies are ranked ninth and tenth: precisions 1/9 and 2/10 at recalls 1/2 and 1.
    assert wrong.auprc == pytest.approx((1 / 9 + 2 / 10) / 2)
    assert wrong.precision is None
