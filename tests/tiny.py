"""A model, data and a trainer that take milliseconds: for tests of what happens around them."""

import re
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_class
from lightning import Callback, Trainer
from torch import Tensor, nn

from vae_lightning.config import CONF_DIR, compose, instantiate, to_container
from vae_lightning.data import ImageDataModule
from vae_lightning.data.sources import Source
from vae_lightning.distributions.likelihoods.bernoulli import Bernoulli
from vae_lightning.distributions.posteriors.diagonal_normal import DiagonalNormal
from vae_lightning.distributions.priors.standard_normal import StandardNormal
from vae_lightning.distributions.spaces import Space
from vae_lightning.models import VAE
from vae_lightning.networks import MLPDecoder, MLPEncoder
from vae_lightning.objectives import ELBO
from vae_lightning.objectives.schedules import Constant
from vae_lightning.training.module import VAEModule

SIZE = 4
CONSTANT = partial(torch.optim.lr_scheduler.ConstantLR, factor=1.0, total_iters=0)


class TinySource(Source):
    """26 training and 10 test images of random pixels, so that a batch of 8 leaves a short one."""

    title = "tiny"
    channels = 1
    size = SIZE
    num_train = 26
    num_test = 10
    class_names = ("dot", "line", "blob")

    def fetch(self, root: Path) -> None:
        """Nothing to do."""

    def load(self, root: Path, train: bool) -> tuple[Tensor, Tensor]:
        count = self.num_train if train else self.num_test
        generator = torch.Generator().manual_seed(1 + train)
        shape = (count, self.channels, self.size, self.size)
        images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        return images, torch.randint(0, 3, (count,), generator=generator)


def tiny_data(**options: Any) -> ImageDataModule:
    """Training batches of 8, 8 and 2 images, validation batches of 4 and 4."""
    defaults: dict[str, Any] = {
        "name": "tiny",
        "source": TinySource(),
        "root": "nowhere",
        "size": SIZE,
        "channels": 1,
        "num_classes": len(TinySource.class_names),
        "batch_size": 8,
        "eval_batch_size": 4,
        "val_size": 8,
        "validation": "split",
        "binarize": "none",
        "held_out": [],
        "seed": 0,
    }
    return ImageDataModule(**{**defaults, **options})


def tiny_vae(
    latent_dim: int = 2,
    hidden: Sequence[int] = (8,),
    image_shape: Sequence[int] = (1, SIZE, SIZE),
    input_range: Sequence[float] = (0, 1),
    likelihood: Any = Bernoulli,
    batch_norm: bool = False,
) -> VAE:
    """The same weights at each call."""
    dense: dict[str, Any] = {"hidden": hidden, "activation": "tanh", "batch_norm": batch_norm}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VAE(
            image_shape=image_shape,
            latent_dim=latent_dim,
            encoder=partial(MLPEncoder, input_range=input_range, **dense),
            posterior=partial(DiagonalNormal, scale="log_variance"),
            prior=StandardNormal,
            decoder=partial(MLPDecoder, **dense),
            likelihood=partial(likelihood, start_at_mean=False),
            initialization="torch",
            num_classes=None,
        )


def head(part: nn.Module) -> nn.Linear:
    """The last layer of a posterior or a likelihood."""
    assert isinstance(part.head, nn.Linear)
    return part.head


def tiny_module(
    model: VAE | None = None,
    *,
    lr: float = 0.1,
    beta: float = 1.0,
    num_samples: int = 1,
    seed: int = 0,
    config: dict[str, Any] | None = None,
    scheduler: Any = CONSTANT,
) -> VAEModule:
    return VAEModule(
        model=model or tiny_vae(),
        objective=ELBO(num_samples=num_samples, beta=beta, schedule=Constant(), free_bits=0.0),
        optimizer=partial(torch.optim.SGD, lr=lr),
        scheduler=scheduler,
        seed=seed,
        config=config,
    )


def tiny_trainer(folder: Path, *callbacks: Callback, **options: Any) -> Trainer:
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "default_root_dir": folder,
    }
    return Trainer(callbacks=list(callbacks), **{**defaults, **options})


def options(group: str) -> list[str]:
    """Names of the files in a folder of `conf/`."""
    return sorted(path.stem for path in (CONF_DIR / group).glob("*.yaml"))


def spaces(group: str) -> dict[str, Space | None]:
    """Where the latents of each option of model/posterior or model/prior live, by its name."""
    found = {}
    for name in options(group):
        (target,) = re.findall(
            r"^_target_: (.*)$", (CONF_DIR / group / f"{name}.yaml").read_text(), re.M
        )
        cls: Any = get_class(target)
        found[name] = cls.space
    return found


@cache
def composed(*overrides: str) -> dict[str, Any]:
    """The configuration of a model. Composing it takes longer than most tests."""
    return to_container(compose("train", overrides).model)


def composed_model(*overrides: str) -> VAE:
    """The model of a configuration, always with the same weights."""
    config = composed(*overrides)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return instantiate(config, "model")


# A VQ-VAE of 8 codes, and images of 8x8 pixels.
SMALL_CODES = (
    "model=vector_quantized",
    "data.size=8",
    "model.num_codes=8",
    "model.code_dim=3",
    "model.encoder.channels=[4]",
    "model.decoder.channels=[4]",
    "model.prior.width=8",
    "model.prior.heads=2",
    "model.prior.layers=1",
)


def small_codes(*overrides: str) -> Any:
    return composed_model(*SMALL_CODES, *overrides)
