"""Probes: classifiers of images by their latent variables."""

import torch
from torch import Tensor

NEIGHBORS = 5


@torch.no_grad()
def probe_accuracy(
    train_means: Tensor, train_labels: Tensor, test_means: Tensor, test_labels: Tensor
) -> dict[str, float]:
    """Accuracy of a nearest-neighbour and of a linear classifier of posterior means.

    The linear probe is a logistic regression on standardised means.

    Args:
        train_means: of the images that the classifiers are fitted to, as from `latent_means`.
        train_labels: of these images.
        test_means: of the images that they are tested on.
        test_labels: of these images.

    Shape:
        means: (N, D), (M, D); labels: (N,), (M,).

    Returns:
        Fractions of the test images that are classified correctly: `knn_accuracy` (majority of 5
        neighbours, Euclidean distance), `linear_probe_accuracy`.
    """
    # Importing them takes a second.
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
