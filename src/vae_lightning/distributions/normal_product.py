"""The product of two normal densities, which is one again."""

import torch
from torch.distributions import Distribution, Independent, Normal


def product_of_normals(first: Distribution, second: Distribution) -> Distribution:
    r"""The density proportional to the product of two diagonal normals' densities.

    .. math:: \sigma^{-2} = \sigma_1^{-2} + \sigma_2^{-2}, \quad
              \mu = \sigma^2 (\mu_1 \sigma_1^{-2} + \mu_2 \sigma_2^{-2})

    Shape:
        batch shapes that broadcast, event shape (D,); returns their common batch shape.

    Raises:
        TypeError: one of them is no diagonal normal.
    """
    if not (isinstance(first, Independent) and isinstance(second, Independent)):
        raise TypeError("only normals with independent dimensions can be multiplied")
    one, two = first.base_dist, second.base_dist
    # Written without reciprocals, which overflow where a scale is near 0.
    both = torch.hypot(one.scale, two.scale)
    share = two.scale / both
    mean = torch.lerp(two.loc.expand_as(share), one.loc.expand_as(share), share.square())
    return Independent(Normal(mean, one.scale * share, validate_args=False), 1, False)
