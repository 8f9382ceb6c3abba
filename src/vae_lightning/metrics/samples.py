"""How good generated images and reconstructions are, by measures other than a likelihood."""

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.ssim import StructuralSimilarityIndexMeasure

# k of the k-nearest-neighbour balls in precision and recall, as in the paper.
NEIGHBOURS = 3
# Sides of SSIM's window, 11 by 11 pixels as in the paper.
SSIM_WINDOW = 11
# Images that pass through a network or an average at once.
BATCH_SIZE = 200
# Pairs of images whose distances are held at once: 40 MB of float32.
PAIRS_AT_ONCE = 10_000_000


def sample_quality(real: Tensor, generated: Tensor, features: nn.Module) -> dict[str, float]:
    """Compare a set of generated images with a set of real ones, in a feature space.

    All three depend on the feature space and on the number of images: put beside each other only
    results with the same of both, and with as many real images as generated ones. A set of other
    real images gives the figures to hope for.

    Args:
        real: images of the data, held out from the model's training.
        generated: images that the model drew, of the same kind: grey if the real ones are,
            binary if they are.
        features: maps images to features, on the device of the images;
            `features.feature_classifier` makes one.

    Shape:
        real (N, C, H, W), generated (M, C, H, W), float32 in [0, 1], N and M at least 4.
        `frechet_distance` is in squared units of the features, 0 at best; it is no FID, which is
        the same distance in the space of an Inception network, and never comparable with one.
        `precision` and `recall` lie in [0, 1], 1 at best.

    Raises:
        ValueError: too few images, pixels outside [0, 1], or two sets of other shapes.
    """
    for name, images in (("real", real), ("generated", generated)):
        _check(name, images)
        if len(images) <= NEIGHBOURS:
            raise ValueError(f"{len(images)} {name} images: at least {NEIGHBOURS + 1} are needed")
    if real.shape[1:] != generated.shape[1:]:
        raise ValueError(
            f"real images of {tuple(real.shape[1:])}, generated of {tuple(generated.shape[1:])}"
        )
    ours, theirs = _features(real, features), _features(generated, features)
    precision, recall = precision_and_recall(ours, theirs)
    return {
        "frechet_distance": frechet_distance(ours, theirs),
        "precision": precision,
        "recall": recall,
    }


def frechet_distance(real: Tensor, generated: Tensor) -> float:
    r"""Squared Frechet distance between the normal distributions fitted to two sets of features.

    .. math:: \|\mu_r - \mu_g\|^2
        + \operatorname{tr}(\Sigma_r + \Sigma_g - 2 (\Sigma_r \Sigma_g)^{1/2})

    An estimate from few images is too high, the more the fewer there are.

    Shape:
        real (N, D), generated (M, D), both of at least 2 rows, better of many times D.

    References:
        Heusel, Ramsauer, Unterthiner, Nessler and Hochreiter, "GANs Trained by a Two Time-Scale
        Update Rule Converge to a Local Nash Equilibrium", 2017: there, of Inception features.
    """
    # Of what every process of a group holds, this is about what is given here.
    metric = FrechetInceptionDistance(_AsTheyAre(real.shape[1]), sync_on_compute=False)
    metric.update(real.cpu().double(), real=True)
    metric.update(generated.cpu().double(), real=False)
    # Rounding can make a distance of nought negative.
    return max(0.0, metric.compute().item())


def precision_and_recall(real: Tensor, generated: Tensor) -> tuple[float, float]:
    r"""How much of what is generated looks real, and how much of what is real can be generated.

    The manifold of a set is estimated as the union of balls around its points, each reaching to
    the point's third nearest neighbour in the set. Precision is the share of generated points
    inside the manifold of the real ones, recall that of real points inside the manifold of the
    generated ones.

    .. math:: \mathrm{precision} = \frac{1}{M} \sum_j
        \mathbb{1}[\exists i: \|g_j - r_i\| \le \|r_i - \mathrm{NN}_3(r_i)\|]

    Distances are differences squared and summed, not the faster expansion into a matrix product:
    that rounds a point away from itself, and every pair as its neighbours in memory happen to lie.

    Shape:
        real (N, D), generated (M, D), both of at least 4 rows, on one device.

    References:
        Kynkäänniemi, Karras, Laine, Lehtinen and Aila, "Improved Precision and Recall Metric for
        Assessing Generative Models", 2019.
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
        images, reconstructions (N, C, H, W), float32 in [0, 1], on one device. `mse` is the mean
        over pixels and channels too, in squared units of the image. `ssim` is at most 1, for equal
        images; the window (normal, 11 by 11 pixels) sees the border reflected, as torchmetrics
        does it. Images smaller than the window have no `ssim`: with another window it would be
        another measure of the same name.

    Raises:
        ValueError: no images, pixels outside [0, 1], or two sets of other shapes.

    References:
        Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error Visibility to
        Structural Similarity", 2004.
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
    pairs = zip(images.split(BATCH_SIZE), reconstructions.split(BATCH_SIZE), strict=True)
    for target, prediction in pairs:
        squares += (prediction - target).square().sum(dtype=torch.float64).item()
        if has_window:
            similarity.update(prediction, target)
    quality = {"mse": squares / images.numel()}
    if has_window:
        quality["ssim"] = torch.as_tensor(similarity.compute()).item()
    return quality


class _AsTheyAre(nn.Module):
    # Features are extracted once, for the distance and for precision and recall; to the
    # torchmetrics class they are the images.
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
    # Written so that NaN is refused too.
    if not (low >= 0 and high <= 1):
        raise ValueError(f"{name} must lie in [0, 1], not in [{low:g}, {high:g}]: clamp them first")


@torch.no_grad()
def _features(images: Tensor, features: nn.Module) -> Tensor:
    return torch.cat([features(batch) for batch in images.split(BATCH_SIZE)])


def _rows(columns: int) -> int:
    return max(1, PAIRS_AT_ONCE // columns)


def _distances(points: Tensor, others: Tensor) -> Tensor:
    return torch.cdist(points, others, compute_mode="donot_use_mm_for_euclid_dist")


def _radii(points: Tensor) -> Tensor:
    # The nearest of all is the point itself, at distance 0.
    nearest = [
        _distances(part, points).topk(NEIGHBOURS + 1, largest=False).values[:, -1]
        for part in points.split(_rows(len(points)))
    ]
    return torch.cat(nearest)
