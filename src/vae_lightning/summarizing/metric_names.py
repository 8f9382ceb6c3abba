"""What the name of a metric says: its unit, and whether lower values are better."""

# By the last part of the tag; of all others, higher values are better.
_LOWER_IS_BETTER = (
    "bits_per_dimension", "dimension_wise_kl", "distortion", "frechet_distance", "loss",
    "marginal_kl", "mse", "nll", "nll_standard_error", "rate", "seconds", "total_correlation",
)  # fmt: skip
_NATS_PER_IMAGE = ("distortion", "elbo", "loss", "nll", "rate")


def lower_is_better(tag: str) -> bool:
    """Whether a lower value of a metric is a better one.

    Example:
        >>> lower_is_better("test/nll"), lower_is_better("val/elbo")
        (True, False)
    """
    return tag.rpartition("/")[2] in _LOWER_IS_BETTER


def unit(tag: str) -> str:
    """The unit of a metric where it is nats per image; otherwise an empty text."""
    return "nats per image" if tag.rpartition("/")[2] in _NATS_PER_IMAGE else ""


def with_unit(tag: str) -> str:
    """The label of an axis."""
    return f"{tag}, {unit(tag)}" if unit(tag) else tag
