"""Images drawn from a model."""

from vae_lightning.callbacks.drawings import grid
from vae_lightning.checks import at_least
from vae_lightning.generation.mode import Made, Mode
from vae_lightning.models import Model
from vae_lightning.trained import Studio


class Samples(Mode):
    """Mean images of p(x|z), z from the prior.

    Args:
        count: how many.
        temperature: below 1, nearer to the modes of the prior.
    """

    def __init__(self, count: int, temperature: float) -> None:
        at_least("count", count, 1)
        self.count = count
        self.temperature = temperature

    def check(self, model: Model) -> None:
        model.sample_latents(1, self.temperature)

    def make(self, studio: Studio) -> Made:
        from torchvision.io import write_png

        images = studio.model.sample(self.count, temperature=self.temperature)
        file = studio.folder / "samples.png"
        write_png(grid(images, 8), str(file))
        return Made([file], {"count": self.count, "temperature": self.temperature})
