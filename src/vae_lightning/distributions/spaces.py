"""Where latent variables live: a posterior and a prior must be on the same space."""

from typing import Literal

# Real vectors; vectors of length one; categories, each variable as so many coordinates.
Space = Literal["plane", "sphere", "simplex"]

# Options of model/prior, by the space that they are on.
PRIORS: dict[Space, tuple[str, ...]] = {
    "plane": ("standard_normal", "mixture", "vamp", "flow"),
    "sphere": ("uniform_sphere", "vamp"),
    "simplex": ("uniform_categorical", "vamp"),
}


def check_same_space(posterior: Space, prior: Space | None) -> None:
    """Check that a prior is where the posterior is.

    Args:
        posterior: its space.
        prior: its space; None where it is made of posteriors, and so has theirs.

    Raises:
        ValueError: it is elsewhere; the message names those that are not.
    """
    if prior not in (posterior, None):
        raise ValueError(
            f"prior is on the {prior} and the posterior on the {posterior}, so that no rate is "
            f"finite: choose model/prior={' or model/prior='.join(PRIORS[posterior])}"
        )
