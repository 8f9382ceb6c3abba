"""How well labels can be read from latent variables."""

import torch
from torch import Tensor

NEIGHBORS = 5


@torch.no_grad()
def probe_accuracy(
    train_means: Tensor, train_labels: Tensor, test_means: Tensor, test_labels: Tensor
) -> dict[str, float]:
    """How well labels can be read from posterior means: by the nearest neighbours, and linearly.

    The linear probe is a logistic regression on standardised means.

    Args:
        train_means: the posterior's mean for each image that the probes learn from.
        train_labels: of those images.
        test_means: the posterior's mean for each image that the probes are asked for.
        test_labels: of those images.

    Shape:
        means: (N, D), (M, D); labels: (N,), (M,).

    Returns:
        Fractions of the test images, in [0, 1]: `knn_accuracy` (majority of 5 neighbours, Euclidean
        distance), `linear_probe_accuracy`.
    """
    # Imported where they are used: they cost a second.
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, train_targets, test, test_targets = (
        tensor.cpu().numpy() for tensor in (train_means, train_labels, test_means, test_labels)
    )
    probes = {
        "knn_accuracy": KNeighborsClassifier(NEIGHBORS),
        "linear_probe_accuracy": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    }
    return {
        name: float(probe.fit(train, train_targets).score(test, test_targets))
        for name, probe in probes.items()
    }
