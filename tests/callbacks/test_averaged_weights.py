"""The average of the weights: its value, and what is validated, saved and tested."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback
from torch import Tensor

from tiny import tiny_data, tiny_module, tiny_trainer
from vae_lightning.callbacks import AveragedWeights
from vae_lightning.config import compose, instantiate, to_container
from vae_lightning.training.module import VAEModule

SHIPPED_DECAY = 0.999


def shipped() -> AveragedWeights:
    config = to_container(
        compose("train", ["callbacks=[minimal,averaged_weights]", "paths.run_dir=unused"])
    )
    return instantiate(config["callbacks"]["averaged_weights"], "averaged_weights")


def flat(module: Any) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in module.model.parameters()])


class Watch(Callback):
    """Notes the weights after each step, and those that are validated."""

    def __init__(self) -> None:
        self.stepped: list[Tensor] = []
        self.validated: list[Tensor] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        if trainer.global_step > len(self.stepped):
            self.stepped.append(flat(pl_module))

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        self.validated.append(flat(pl_module))


def averaged(steps: list[Tensor], decay: float) -> Tensor:
    average = steps[0]
    for updates, weights in enumerate(steps[1:], start=1):
        kept = min(decay, (1 + updates) / (10 + updates))
        average = kept * average + (1 - kept) * weights
    return average


def run(folder: Path, callback: Callback, **options: Any) -> tuple[VAEModule, Watch]:
    module, watch = tiny_module(), Watch()
    tiny_trainer(folder, watch, callback, **options).fit(module, tiny_data())
    return module, watch


@pytest.mark.parametrize("accumulated", [1, 2])
def test_the_average_is_validated_and_left_as_the_weights(tmp_path: Path, accumulated: int) -> None:
    module, watch = run(tmp_path, shipped(), max_epochs=4, accumulate_grad_batches=accumulated)
    # Three batches of an epoch are two steps if two are accumulated.
    assert len(watch.stepped) == 4 * (3 if accumulated == 1 else 2)
    expected = averaged(watch.stepped, SHIPPED_DECAY)
    torch.testing.assert_close(flat(module), expected)
    torch.testing.assert_close(watch.validated[-1], expected)
    # It is neither the last weights nor the first.
    for weights in (watch.stepped[-1], watch.stepped[0]):
        assert (expected - weights).abs().max() > 1e-3


def test_the_average_of_a_short_run_is_near_its_last_weights(tmp_path: Path) -> None:
    _, watch = run(tmp_path, shipped(), max_epochs=20)
    lag = (watch.validated[-1] - watch.stepped[-1]).norm()
    assert lag < 0.2 * (watch.stepped[-1] - watch.stepped[0]).norm()


def test_in_a_long_run_the_decay_is_the_one_that_is_shipped(tmp_path: Path) -> None:
    callback = shipped()

    class Late(Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            average: Any = callback._average_model
            average.n_averaged.fill_(1_000_000)
            for weight in average.module.parameters():
                weight.data.zero_()

    module, watch = tiny_module(), Watch()
    tiny_trainer(tmp_path, watch, callback, Late(), max_steps=1).fit(module, tiny_data())
    torch.testing.assert_close(flat(module), (1 - SHIPPED_DECAY) * watch.stepped[0])


def test_the_weights_are_validated_until_the_average_has_begun(tmp_path: Path) -> None:
    class Initialise(Callback):
        """As parts do that are initialised from the training images."""

        def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
            for weight in pl_module.model.parameters():
                weight.data.fill_(0.5)

    watch = Watch()
    trainer = tiny_trainer(
        tmp_path, Initialise(), watch, shipped(), accumulate_grad_batches=3, val_check_interval=1
    )
    trainer.fit(tiny_module(), tiny_data())
    assert torch.equal(watch.validated[0], torch.full_like(watch.validated[0], 0.5))


def test_a_checkpoint_holds_the_average_and_the_weights(tmp_path: Path) -> None:
    module, watch = tiny_module(), Watch()
    path = tmp_path / "end.ckpt"

    class Save(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            trainer.save_checkpoint(path)

    tiny_trainer(tmp_path, watch, shipped(), Save()).fit(module, tiny_data())
    content = torch.load(path, weights_only=True)
    for key, expected in (
        ("state_dict", averaged(watch.stepped, SHIPPED_DECAY)),
        ("current_model_state", watch.stepped[-1]),
    ):
        model = tiny_module()
        model.load_state_dict(content[key])
        torch.testing.assert_close(flat(model), expected)


@pytest.mark.parametrize("decay", [-0.1, 1.5])
def test_a_decay_that_is_no_fraction_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="decay="):
        AveragedWeights(decay)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("64-true", torch.float64), ("bf16-true", torch.bfloat16)]
)
def test_the_average_has_the_precision_of_the_weights(
    tmp_path: Path, precision: str, dtype: torch.dtype
) -> None:
    module, watch = run(tmp_path, shipped(), max_epochs=2, precision=precision)
    assert flat(module).dtype is dtype
    expected = averaged([weights.double() for weights in watch.stepped], SHIPPED_DECAY)
    tolerance = 1e-12 if dtype is torch.float64 else 0.05
    torch.testing.assert_close(flat(module).double(), expected, atol=tolerance, rtol=0)
