"""States of the random number generators: saved, restored, and replaced for evaluation."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's generators on the CPU and on `device`, by device type."""
    state = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        state[device.type] = torch.get_device_module(device).get_rng_state()
    return state


def set_random_state(state: dict[str, Tensor]) -> None:
    """Restore what `random_state` returned, ignoring devices that are not available."""
    torch.set_rng_state(state["cpu"].cpu())
    for name, value in state.items():
        if name != "cpu" and torch.get_device_module(name).is_available():
            torch.get_device_module(name).set_rng_state(value.cpu())


def reseed(seed: int, device: torch.device) -> None:
    """Seed the generator of `device`. For use inside `fixed_noise`, which restores the state.

    On the CPU the result is that of `torch.manual_seed`, which takes half a millisecond longer: it
    queues a seed for every accelerator that is not initialised yet.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


@contextmanager
def fixed_noise(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the generators inside the context, and restore their states after it.

    An evaluation or a picture is then the same each time, and training is not affected by it.
    """
    state = random_state(device)
    reseed(seed, device)
    try:
        yield
    finally:
        set_random_state(state)


@contextmanager
def noise_of(generator: torch.Generator | None, device: torch.device) -> Iterator[None]:
    """Seed torch's generators from another one inside the context, and restore them after it.

    The distributions of torch do not accept a generator. None changes nothing.
    """
    if generator is None:
        yield
        return
    seed = torch.randint(2**62, (), generator=generator, device=generator.device)
    with fixed_noise(int(seed), device):
        yield
