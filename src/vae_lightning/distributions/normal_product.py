"""The product of two normal densities, which is a normal density up to a constant."""

import torch
from torch.distributions import Distribution, Independent, Normal


def product_of_normals(first: Distribution, second: Distribution) -> Distribution:
    r"""The normal distribution whose density is proportional to the product of two.

    .. math:: \sigma^{-2} = \sigma_1^{-2} + \sigma_2^{-2}, \quad
              \mu = \sigma^2 (\mu_1 \sigma_1^{-2} + \mu_2 \sigma_2^{-2})

    Shape:
        batch shapes that broadcast, event shape (D,); returns their common batch shape.

    Raises:
        TypeError: one of them is not a normal with independent dimensions.
    """
    if not (isinstance(first, Independent) and isinstance(second, Independent)):
        raise TypeError("only normals with independent dimensions can be multiplied")
    one, two = first.base_dist, second.base_dist
    # Without reciprocals, which overflow for scales near 0.
    norm = torch.hypot(one.scale, two.scale)
    weight = two.scale / norm
    mean = torch.lerp(two.loc.expand_as(weight), one.loc.expand_as(weight), weight.square())
    return Independent(Normal(mean, one.scale * weight, validate_args=False), 1, False)
