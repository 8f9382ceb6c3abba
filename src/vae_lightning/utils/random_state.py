"""Random state that a run owns: saved, restored, and set aside for evaluation."""

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
    """Restore what `random_state` returned; states of devices that are not here are passed over."""
    torch.set_rng_state(state["cpu"].cpu())
    for name, value in state.items():
        if name != "cpu" and torch.get_device_module(name).is_available():
            torch.get_device_module(name).set_rng_state(value.cpu())


def reseed(seed: int, device: torch.device) -> None:
    """Let noise on `device` begin anew from a seed; inside `fixed_noise`, where it is put back.

    On the CPU it draws what it would after `torch.manual_seed`, which takes half a millisecond: it
    keeps a note for every accelerator that has not been started yet.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


@contextmanager
def fixed_noise(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from `seed` inside, and leave the generators as they were.

    So an evaluation or a picture is the same each time, and training goes on as if it had not been.
    """
    state = random_state(device)
    reseed(seed, device)
    try:
        yield
    finally:
        set_random_state(state)


@contextmanager
def noise_of(generator: torch.Generator | None, device: torch.device) -> Iterator[None]:
    """Draw inside from what a generator gives, and leave torch's own generators as they were.

    The distributions of torch take no generator. With None they draw from torch's own.
    """
    if generator is None:
        yield
        return
    seed = torch.randint(2**62, (), generator=generator, device=generator.device)
    with fixed_noise(int(seed), device):
        yield
