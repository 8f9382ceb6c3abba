"""Quality of generated images and reconstructions, by other metrics than a likelihood."""

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.ssim import StructuralSimilarityIndexMeasure

from vae_lightning.utils.blocks import in_blocks, rows_at_once

# k of the k-nearest-neighbour balls in precision and recall, as in the paper.
NEIGHBOURS = 3
# Height and width of SSIM's window in pixels, as in the paper.
SSIM_WINDOW = 11
# Images that are passed through a network or an average at once.
BATCH_SIZE = 200
# Pairs of images whose distances are in memory at once: 40 MB of float32.
PAIRS_AT_ONCE = 10_000_000


def sample_quality(real: Tensor, generated: Tensor, features: nn.Module) -> dict[str, float]:
    """Compare a set of generated images with a set of real ones, in a feature space.

    All three metrics depend on the feature space and on the number of images. Compare only results
    with the same feature space and the same numbers of images, with as many real images as
    generated ones. For a reference value, compare the real images with other real images.

    Args:
        real: images that the model was not trained on.
        generated: images sampled from the model, grey if the real ones are grey and binary if they
            are binary.
        features: maps images to features, on the device of the images;
            `features.feature_classifier` makes one.

    Shape:
        real (N, C, H, W), generated (M, C, H, W), float32 in [0, 1], N and M at least 4.
        `frechet_distance` is in squared units of the features and at least 0. It is not
        comparable with an FID, which is the same distance between features of an Inception
        network. `precision` and `recall` are in [0, 1].

    Raises:
        ValueError: there are too few images, pixels are outside [0, 1], or shapes differ.
    """
    for name, images in (("real", real), ("generated", generated)):
        _check(name, images)
        if len(images) <= NEIGHBOURS:
            raise ValueError(f"{len(images)} {name} images: at least {NEIGHBOURS + 1} are needed")
    if real.shape[1:] != generated.shape[1:]:
        raise ValueError(
            f"real images of {tuple(real.shape[1:])}, generated of {tuple(generated.shape[1:])}"
        )
    real_features = _features(real, features)
    generated_features = _features(generated, features)
    precision, recall = precision_and_recall(real_features, generated_features)
    return {
        "frechet_distance": frechet_distance(real_features, generated_features),
        "precision": precision,
        "recall": recall,
    }


def frechet_distance(real: Tensor, generated: Tensor) -> float:
    r"""Squared Fréchet distance between the normal distributions fitted to two sets of features.

    .. math:: \|\mu_r - \mu_g\|^2
        + \operatorname{tr}(\Sigma_r + \Sigma_g - 2 (\Sigma_r \Sigma_g)^{1/2})

    The estimate is biased upwards, and the bias grows as the number of images falls.

    Shape:
        real (N, D), generated (M, D), with N and M at least 2, and better many times D.

    Example:
        >>> points = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
        >>> round(frechet_distance(points, points + torch.tensor([3.0, 4.0])), 4)
        25.0

    References:
        Heusel, Ramsauer, Unterthiner, Nessler and Hochreiter, "GANs Trained by a Two Time-Scale
        Update Rule Converge to a Local Nash Equilibrium", 2017, https://arxiv.org/abs/1706.08500,
        where the features are those of an Inception network.
    """
    # The features are this process's own: not to be gathered from the others.
    metric = FrechetInceptionDistance(_Identity(real.shape[1]), sync_on_compute=False)
    metric.update(real.cpu().double(), real=True)
    metric.update(generated.cpu().double(), real=False)
    # Rounding can make a distance of 0 negative.
    return max(0.0, metric.compute().item())


def precision_and_recall(real: Tensor, generated: Tensor) -> tuple[float, float]:
    r"""The fraction of generated images that look real, and of real images that can be generated.

    The manifold of a set is estimated as the union of balls around its points, with the distance to
    the third nearest neighbour in the set as the radius. Precision is the fraction of generated
    points inside the manifold of the real ones, recall the fraction of real points inside the
    manifold of the generated ones.

    .. math:: \mathrm{precision} = \frac{1}{M} \sum_j
        \mathbb{1}[\exists i: \|g_j - r_i\| \le \|r_i - \mathrm{NN}_3(r_i)\|]

    Distances are sums of squared differences. The faster expansion into a matrix product rounds
    differently for each block of points, and puts a point at a distance from itself.

    Shape:
        real (N, D), generated (M, D), with N and M at least 4, on one device.

    Example:
        >>> points = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
        >>> precision_and_recall(points, points), precision_and_recall(points, points + 100)
        ((1.0, 1.0), (0.0, 0.0))

    References:
        Kynkäänniemi, Karras, Laine, Lehtinen and Aila, "Improved Precision and Recall Metric for
        Assessing Generative Models", 2019, https://arxiv.org/abs/1904.06991.
    """
    real_radii, generated_radii = _radii(real), _radii(generated)
    inside = 0
    covered = torch.zeros(len(real), dtype=torch.bool, device=real.device)
    rows = _rows(len(real))
    for points, radii in zip(generated.split(rows), generated_radii.split(rows), strict=True):
        distances = _distances(points, real)  # (rows, N)
        inside += int((distances <= real_radii).any(1).sum())
        covered |= (distances <= radii.unsqueeze(1)).any(0)
    return inside / len(generated), int(covered.sum()) / len(real)


def reconstruction_quality(images: Tensor, reconstructions: Tensor) -> dict[str, float]:
    """Mean squared error and structural similarity, averaged over images.

    Shape:
        images, reconstructions (N, C, H, W), float32 in [0, 1], on one device. `mse` is also
        averaged over pixels and channels, in squared units of the image. `ssim` is 1 for equal
        images and lower otherwise; its Gaussian window has 11 by 11 pixels, and torchmetrics
        reflects images at their borders. Images smaller than the window have no `ssim`, because
        values with another window are not comparable.

    Raises:
        ValueError: there are no images, pixels are outside [0, 1], or shapes differ.

    Example:
        >>> images = torch.full((2, 1, 12, 12), 0.5)
        >>> quality = reconstruction_quality(images, images + 0.1)
        >>> round(quality["mse"], 6)
        0.01

    References:
        Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error Visibility to
        Structural Similarity", IEEE Transactions on Image Processing, 2004.
    """
    _check("images", images)
    _check("reconstructions", reconstructions)
    if images.shape != reconstructions.shape:
        raise ValueError(
            f"images of {tuple(images.shape)}, reconstructions of {tuple(reconstructions.shape)}"
        )
    squares = 0.0
    similarity = StructuralSimilarityIndexMeasure(data_range=1.0, sync_on_compute=False)
    similarity.to(images.device)
    has_window = min(images.shape[-2:]) >= SSIM_WINDOW
    # The averages over windows take some fifteen times the memory of the images.
    size = rows_at_once(15 * 4 * images[:1].numel(), BATCH_SIZE)
    pairs = zip(images.split(size), reconstructions.split(size), strict=True)
    for target, prediction in pairs:
        squares += (prediction - target).square().sum(dtype=torch.float64).item()
        if has_window:
            similarity.update(prediction, target)
    quality = {"mse": squares / images.numel()}
    if has_window:
        quality["ssim"] = torch.as_tensor(similarity.compute()).item()
    return quality


class _Identity(nn.Module):
    # Features are extracted once for all metrics; torchmetrics gets them in place of images.
    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def _check(name: str, images: Tensor) -> None:
    if images.ndim != 4 or images.numel() == 0 or not images.is_floating_point():
        raise ValueError(
            f"{name} must be float (N, C, H, W), not {images.dtype} of {tuple(images.shape)}"
        )
    low, high = images.min().item(), images.max().item()
    # Negated so that NaN fails.
    if not (low >= 0 and high <= 1):
        raise ValueError(f"{name} must lie in [0, 1], not in [{low:g}, {high:g}]: clamp them first")


@torch.no_grad()
def _features(images: Tensor, features: nn.Module) -> Tensor:
    return torch.cat([in_blocks(features, batch) for batch in images.split(BATCH_SIZE)])


def _rows(columns: int) -> int:
    return max(1, PAIRS_AT_ONCE // columns)


def _distances(points: Tensor, others: Tensor) -> Tensor:
    return torch.cdist(points, others, compute_mode="donot_use_mm_for_euclid_dist")


def _radii(points: Tensor) -> Tensor:
    # The nearest of all points is the point itself, at distance 0.
    nearest = [
        _distances(part, points).topk(NEIGHBOURS + 1, largest=False).values[:, -1]
        for part in points.split(_rows(len(points)))
    ]
    return torch.cat(nearest)
