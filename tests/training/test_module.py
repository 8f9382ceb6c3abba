"""Training and evaluation with a real Trainer: what is logged, and what noise it is made of."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.loggers.logger import Logger
from torch import Tensor

from tiny import SIZE, head, tiny_data, tiny_module, tiny_trainer, tiny_vae
from vae_lightning.errors import DivergedError
from vae_lightning.models import VAE, Trace
from vae_lightning.networks.layers import BatchNorm
from vae_lightning.objectives import ELBO
from vae_lightning.objectives.importance_weighted import ImportanceWeighted
from vae_lightning.objectives.objective import TERMS
from vae_lightning.objectives.schedules import Constant, Jump, Linear
from vae_lightning.training import terms
from vae_lightning.training.module import VAEModule

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*have no `val_dataloader`.*", "ignore:The number of training batches"
)

# A mean in float32 of numbers near 10, against one in another order.
CLOSE = 1e-5


@dataclass
class Seen:
    """One batch as the objective saw it: its terms, (B,) each, and whether it was trained on."""

    terms: dict[str, Tensor]
    training: bool
    z: Tensor
    posterior_mean: Tensor


class Watched(ELBO):
    """An objective that remembers each image's terms."""

    def __init__(self, num_samples: int, beta: float) -> None:
        super().__init__(num_samples, beta, schedule=Constant(), free_bits=0.0)
        self.seen: list[Seen] = []

    def forward(self, trace: Trace, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        rate, distortion = trace.rate.detach().mean(0), trace.distortion.detach().mean(0)
        terms = {
            "rate": rate,
            "distortion": distortion,
            "elbo": -distortion - rate,
            "loss": distortion + self.beta * rate,
        }
        (latent,) = trace.latents
        training = torch.is_grad_enabled()
        self.seen.append(Seen(terms, training, latent.z.detach(), latent.posterior.mean.detach()))
        return super().forward(trace, step)


class Recorder(Logger):
    """A logger that remembers what it was given, by step."""

    def __init__(self) -> None:
        super().__init__()
        self.logged: list[tuple[int | None, dict[str, float]]] = []

    @property
    def name(self) -> str:
        return "recorder"

    @property
    def version(self) -> str:
        return "0"

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.logged.append((step, dict(metrics)))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass

    def values(self, tag: str) -> list[tuple[int | None, float]]:
        return [(step, float(metrics[tag])) for step, metrics in self.logged if tag in metrics]


class Batches:
    """Batches as they are given, in the order that they are given."""

    def __init__(self, *images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images in self.images:
            yield images, torch.zeros(len(images), dtype=torch.int64)


def batches(*sizes: int) -> Batches:
    """Random images, those of a short batch darker, so that each batch has another mean."""
    generator = torch.Generator().manual_seed(0)
    return Batches(*(torch.rand(n, 1, 4, 4, generator=generator) * n / 8 for n in sizes))


def watched_module(*, beta: float = 1.0, num_samples: int = 1, **options: Any) -> VAEModule:
    module = tiny_module(**options)
    module.objective = Watched(num_samples, beta)
    return module


def seen_by(module: VAEModule, training: bool) -> list[Seen]:
    assert isinstance(module.objective, Watched)
    return [seen for seen in module.objective.seen if seen.training == training]


def image_means(seen: list[Seen]) -> dict[str, Any]:
    means = {name: torch.cat([one.terms[name] for one in seen]).double().mean() for name in TERMS}
    return {name: pytest.approx(mean.item(), rel=CLOSE) for name, mean in means.items()}


def batch_mean(seen: list[Seen], name: str) -> float:
    return torch.stack([one.terms[name].mean() for one in seen]).mean().item()


def staged(metrics: Mapping[str, Any], stage: str) -> dict[str, float]:
    return {name: float(metrics[f"{stage}/{name}"]) for name in TERMS}


def weights(module: VAEModule) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.model.parameters()])


# -- training -------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_samples", [1, 3])
def test_training_means_are_over_the_images_of_the_epoch(tmp_path: Path, num_samples: int) -> None:
    module = watched_module(beta=4.0, num_samples=num_samples)
    trainer = tiny_trainer(tmp_path)
    trainer.fit(module, batches(8, 8, 2))
    seen = seen_by(module, training=True)
    assert [one.z.shape for one in seen] == [(num_samples, size, 2) for size in (8, 8, 2)]
    means = staged(trainer.callback_metrics, "train")
    assert means == image_means(seen)
    # Means over the batches would be told apart.
    assert abs(means["elbo"] - batch_mean(seen, "elbo")) > 0.01


def test_training_steps_take_the_samples_of_the_schedule_and_validation_all(tmp_path: Path) -> None:
    drawn: dict[bool, list[int]] = {True: [], False: []}

    class Counting(ImportanceWeighted):
        def forward(self, trace: Trace, step: int) -> tuple[Tensor, dict[str, Tensor]]:
            drawn[torch.is_grad_enabled()].append(len(trace.log_weight))
            return super().forward(trace, step)

    module = tiny_module()
    module.objective = Counting(6, "standard", 1, None, 0.0, Jump(steps=2, before=0.5))
    tiny_trainer(tmp_path, max_epochs=2).fit(module, batches(8, 8), batches(8))
    assert drawn == {True: [3, 3, 6, 6], False: [6, 6]}


def test_training_means_are_of_one_epoch_alone(tmp_path: Path) -> None:
    module = watched_module()
    trainer = tiny_trainer(tmp_path, max_epochs=3)
    trainer.fit(module, batches(8, 8, 2))
    seen = seen_by(module, training=True)
    assert len(seen) == 9
    assert staged(trainer.callback_metrics, "train") == image_means(seen[-3:])


@pytest.mark.parametrize("interval", [1, 2, 50])
def test_how_often_steps_are_read_does_not_change_the_epoch(tmp_path: Path, interval: int) -> None:
    module = watched_module()
    trainer = tiny_trainer(tmp_path, max_epochs=2, log_every_n_steps=interval)
    trainer.fit(module, batches(8, 8, 4, 8, 2))
    last_epoch = seen_by(module, training=True)[5:]
    assert staged(trainer.callback_metrics, "train") == image_means(last_epoch)


def test_step_terms_are_means_over_the_images_since_the_last_ones(tmp_path: Path) -> None:
    recorder = Recorder()
    module = watched_module(beta=4.0)
    trainer = tiny_trainer(tmp_path, logger=recorder, log_every_n_steps=2)
    trainer.fit(module, batches(8, 4, 8, 8, 2))
    seen = seen_by(module, training=True)
    # Every second step, and at the end of the epoch what is left.
    expected = [(2, seen[0:2]), (4, seen[2:4]), (5, seen[4:5])]
    for name in TERMS:
        assert recorder.values(f"train/{name}_step") == [
            (step, image_means(part)[name]) for step, part in expected
        ]
    assert module.recent_means == image_means(seen[4:5])
    assert not any(tag.endswith("_step") for tag in trainer.callback_metrics)


def test_every_tag_that_is_logged_is_one_that_is_promised(tmp_path: Path) -> None:
    recorder = Recorder()
    tiny_trainer(tmp_path, logger=recorder).fit(tiny_module(), datamodule=tiny_data())
    tags = {tag for _, metrics in recorder.logged for tag in metrics}
    assert tags == {"epoch", "learning_rate"} | {
        f"{prefix}{name}{suffix}"
        for name in TERMS
        for prefix, suffix in [("train/", ""), ("train/", "_step"), ("val/", "")]
    }


def test_the_loss_that_is_logged_is_the_loss_that_is_minimised(tmp_path: Path) -> None:
    # One step of size one: the weights move by minus the gradient of what was logged.
    module = watched_module(beta=4.0, lr=1.0)
    start = tiny_module(beta=4.0)
    images = batches(8)
    trainer = tiny_trainer(tmp_path)
    trainer.fit(module, images)
    torch.manual_seed(module.seed)
    loss, _ = start.objective(start.model(images.images[0], 1), 0)
    loss.backward()
    assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(loss.item(), rel=CLOSE)
    moved = torch.cat([(p - p.grad).flatten() for p in start.model.parameters()])  # type: ignore[operator]
    torch.testing.assert_close(weights(module), moved.detach())


def test_learning_rate_that_is_logged_is_the_one_that_the_epoch_was_trained_with(
    tmp_path: Path,
) -> None:
    recorder = Recorder()
    halving = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    module = tiny_module(lr=0.4, scheduler=halving)
    used: list[float] = []

    class Look(Callback):
        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            used.append(optimizer.param_groups[0]["lr"])

    trainer = tiny_trainer(tmp_path, Look(), max_epochs=3, logger=recorder)
    trainer.fit(module, batches(8, 8))
    assert used == [0.4, 0.4, 0.2, 0.2, 0.1, 0.1]
    logged = [value for _, value in recorder.values("learning_rate")]
    assert logged == pytest.approx([0.4, 0.2, 0.1])


def _moved(folder: Path, **options: Any) -> float:
    """How far one step of size 1 along the gradient goes."""
    module = tiny_module(lr=1.0)
    start = torch.cat([weight.detach().flatten().clone() for weight in module.parameters()])
    tiny_trainer(folder, max_steps=1, **options).fit(module, datamodule=tiny_data())
    end = torch.cat([weight.detach().flatten() for weight in module.parameters()])
    return (end - start).norm().item()


def test_gradients_are_clipped_where_it_is_asked_for_and_only_there(tmp_path: Path) -> None:
    free = _moved(tmp_path)
    assert free > 0.1
    assert _moved(tmp_path, gradient_clip_val=0.01) == pytest.approx(0.01, rel=1e-3)
    assert _moved(tmp_path, gradient_clip_val=10 * free) == free


def test_a_step_takes_the_gradient_of_its_own_batch_alone(tmp_path: Path) -> None:
    module = tiny_module()
    weight = next(module.parameters())
    seen = []

    class Look(Callback):
        def on_before_backward(self, *_: Any) -> None:
            seen.append(weight.grad)

    tiny_trainer(tmp_path, Look()).fit(module, datamodule=tiny_data())
    assert seen == [None] * len(seen)
    assert len(seen) > 1


@pytest.mark.parametrize("limit", [1, 3])
def test_a_run_that_ends_within_an_epoch_logs_the_images_that_it_saw(
    tmp_path: Path, limit: int
) -> None:
    module = watched_module()
    trainer = tiny_trainer(tmp_path, max_epochs=5, max_steps=limit)
    trainer.fit(module, batches(8, 2, 4, 8))
    seen = seen_by(module, training=True)
    assert len(seen) == limit
    assert staged(trainer.callback_metrics, "train") == image_means(seen)


def test_every_image_trained_on_is_counted(tmp_path: Path) -> None:
    module = tiny_module()
    tiny_trainer(tmp_path, max_epochs=3).fit(module, batches(8, 8, 2))
    assert module.images_trained == 54
    assert 0 < module.seconds < 60


# -- noise ----------------------------------------------------------------------------------------


def trained(folder: Path, *, seed: int = 0, **options: Any) -> Tensor:
    module = tiny_module(seed=seed)
    trainer = tiny_trainer(folder, max_epochs=3, **options)
    trainer.fit(module, datamodule=tiny_data())
    return weights(module)


def test_validating_does_not_disturb_the_noise_of_training(tmp_path: Path) -> None:
    validated = trained(tmp_path)
    alone = trained(tmp_path, limit_val_batches=0)
    torch.testing.assert_close(validated, alone, rtol=0, atol=0)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_run_is_repeated_by_its_seed(tmp_path: Path, seed: int) -> None:
    torch.manual_seed(123)
    first = trained(tmp_path, seed=seed)
    torch.manual_seed(456)
    torch.testing.assert_close(trained(tmp_path, seed=seed), first, rtol=0, atol=0)


def test_another_seed_gives_another_run(tmp_path: Path) -> None:
    assert (trained(tmp_path, seed=0) != trained(tmp_path, seed=1)).any()


def test_noise_of_training_is_new_at_each_step_and_epoch(tmp_path: Path) -> None:
    module = watched_module(lr=0.0)
    trainer = tiny_trainer(tmp_path, max_epochs=3)
    trainer.fit(module, datamodule=tiny_data(val_size=18, batch_size=4))
    # Weights stand still, so where z is off the mean it is by noise alone.
    noise = [(one.z - one.posterior_mean).flatten() for one in seen_by(module, training=True)]
    assert len(noise) == 6
    for i, one in enumerate(noise):
        for other in noise[:i]:
            assert not torch.isclose(one, other).any()


@pytest.mark.parametrize("training", [True, False])
def test_each_process_draws_noise_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, training: bool
) -> None:
    noise = []
    for rank in (0, 1):
        monkeypatch.setattr(VAEModule, "global_rank", rank)
        module = watched_module(lr=0.0)
        tiny_trainer(tmp_path, max_epochs=1).fit(module, batches(8), batches(8))
        (seen,) = seen_by(module, training)
        noise.append(seen.z - seen.posterior_mean)
    # The same weights and images, so it is by the noise alone that the samples differ.
    assert not torch.isclose(noise[0], noise[1]).any()


# -- evaluation -----------------------------------------------------------------------------------


def validate(
    folder: Path, module: VAEModule, stage: str = "validate", **options: Any
) -> dict[str, float]:
    trainer = tiny_trainer(folder)
    (metrics,) = getattr(trainer, stage)(module, datamodule=tiny_data(**options), verbose=False)
    return {tag: value for tag, value in metrics.items() if "/" in tag}


def test_validation_means_are_over_all_images_with_sampled_latents(tmp_path: Path) -> None:
    module = watched_module(num_samples=2)
    (metrics,) = tiny_trainer(tmp_path).validate(module, batches(8, 8, 2), verbose=False)
    seen = seen_by(module, training=False)
    assert [one.z.shape for one in seen] == [(2, size, 2) for size in (8, 8, 2)]
    assert staged(metrics, "val") == image_means(seen)
    # Means over the batches would be told apart.
    assert abs(metrics["val/elbo"] - batch_mean(seen, "elbo")) > 0.01
    assert all((one.z != one.posterior_mean).all() for one in seen)


def test_the_test_is_of_all_test_images_with_sampled_latents(tmp_path: Path) -> None:
    module = watched_module()
    model = module.model
    assert isinstance(model, VAE)
    metrics = validate(tmp_path, module, stage="test")
    seen = seen_by(module, training=False)
    data = tiny_data()
    data.setup("test")
    images, _ = data.images("test", 10)
    expected = model.encode(images).mean
    torch.testing.assert_close(torch.cat([one.posterior_mean for one in seen]), expected)
    assert staged(metrics, "test") == image_means(seen)
    assert all((one.z != one.posterior_mean).all() for one in seen)


def test_validation_measures_the_bound_whatever_beta_trains(tmp_path: Path) -> None:
    plain = validate(tmp_path, tiny_module(beta=1.0))
    scaled = validate(tmp_path, tiny_module(beta=4.0))
    free = validate(tmp_path, tiny_module(beta=0.0))
    for name in ("elbo", "rate", "distortion"):
        assert plain[f"val/{name}"] == scaled[f"val/{name}"] == free[f"val/{name}"]
    assert plain["val/elbo"] == pytest.approx(
        -plain["val/distortion"] - plain["val/rate"], rel=CLOSE
    )
    assert plain["val/loss"] == pytest.approx(-plain["val/elbo"], rel=CLOSE)
    assert plain["val/rate"] > 0.01
    assert scaled["val/loss"] - plain["val/loss"] == pytest.approx(3 * plain["val/rate"], abs=1e-4)


def test_the_loss_of_validation_is_the_one_that_is_trained_at_this_step(tmp_path: Path) -> None:
    module = tiny_module(beta=2.0)
    assert isinstance(module.objective, ELBO)
    module.objective.schedule = Linear(12)
    trainer = tiny_trainer(tmp_path, max_epochs=2)
    trainer.fit(module, datamodule=tiny_data())
    means = {name: float(trainer.callback_metrics[f"val/{name}"]) for name in TERMS}
    # Two epochs of three steps: halfway to a weight of 2.
    assert trainer.global_step == 6
    assert means["loss"] == pytest.approx(means["distortion"] + means["rate"], rel=CLOSE)
    assert means["rate"] > 0.01


def test_training_logs_the_bound_whatever_beta_trains(tmp_path: Path) -> None:
    # Weights stand still, so the runs differ in nothing but the loss.
    runs = {}
    for beta in (1.0, 4.0):
        trainer = tiny_trainer(tmp_path)
        trainer.fit(tiny_module(beta=beta, lr=0.0), datamodule=tiny_data())
        runs[beta] = staged(trainer.callback_metrics, "train")
    for name in ("elbo", "rate", "distortion"):
        assert runs[1.0][name] == runs[4.0][name]
    assert runs[4.0]["loss"] > runs[1.0]["loss"] + 0.01


def test_two_validations_agree_to_the_last_digit(tmp_path: Path) -> None:
    module = tiny_module()
    torch.manual_seed(1)
    first = validate(tmp_path, module)
    torch.manual_seed(2)
    assert validate(tmp_path, module) == first


def test_validation_during_training_agrees_with_validation_afterwards(tmp_path: Path) -> None:
    module = tiny_module()
    trainer = tiny_trainer(tmp_path, max_epochs=2)
    trainer.fit(module, datamodule=tiny_data())
    during = {f"val/{name}": mean for name, mean in staged(trainer.callback_metrics, "val").items()}
    assert validate(tmp_path, module) == during


def test_validation_leaves_the_random_state_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    validate(tmp_path, tiny_module())
    assert torch.equal(torch.get_rng_state(), before)


def test_validation_that_fails_leaves_the_random_state_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tiny_module()

    def fail(trace: Trace, step: int) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(module.objective, "forward", fail)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="on purpose"):
        validate(tmp_path, module)
    assert torch.equal(torch.get_rng_state(), before)


def test_validation_depends_on_the_size_of_its_batches_by_noise_alone(tmp_path: Path) -> None:
    whole = validate(tmp_path, tiny_module(num_samples=1000), eval_batch_size=8)
    parts = validate(tmp_path, tiny_module(num_samples=1000), eval_batch_size=3)
    assert parts["val/rate"] == pytest.approx(whole["val/rate"], rel=CLOSE)
    # One sample of one image is off by about 0.2 nats, and 8,000 of them are averaged.
    assert parts["val/elbo"] == pytest.approx(whole["val/elbo"], abs=0.02)


# -- accumulated gradients ------------------------------------------------------------------------


def test_accumulated_batches_are_read_and_logged_once_per_interval_of_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def counted(unread: Any) -> Any:
        read.append(len(unread))
        return terms.read(unread)

    monkeypatch.setattr("vae_lightning.training.module.read", counted)
    recorder = Recorder()
    module = watched_module()
    trainer = tiny_trainer(
        tmp_path, logger=recorder, log_every_n_steps=2, accumulate_grad_batches=3
    )
    trainer.fit(module, batches(*[4] * 14))
    # Steps 2 and 4 take six batches each, and the last step what is left.
    assert trainer.global_step == 5
    assert read == [6, 6, 2]
    seen = seen_by(module, training=True)
    for name in TERMS:
        assert recorder.values(f"train/{name}_step") == [
            (step, image_means(part)[name])
            for step, part in [(2, seen[:6]), (4, seen[6:12]), (5, seen[12:])]
        ]
        assert recorder.values(f"train/{name}") == [(5, image_means(seen)[name])]


def test_an_objective_is_told_the_step_of_the_optimiser(tmp_path: Path) -> None:
    steps: list[int] = []

    class Watching(ELBO):
        def forward(self, trace: Trace, step: int) -> tuple[Tensor, dict[str, Tensor]]:
            steps.append(step)
            return super().forward(trace, step)

    module = tiny_module()
    module.objective = Watching(1, 1.0, Constant(), 0.0)
    tiny_trainer(tmp_path, accumulate_grad_batches=2).fit(module, batches(4, 4, 4, 4, 4))
    assert steps == [0, 0, 1, 1, 2]


@pytest.mark.parametrize("interval", [1, 50])
def test_divergence_names_the_step_of_the_optimiser(tmp_path: Path, interval: int) -> None:
    trainer = tiny_trainer(tmp_path, log_every_n_steps=interval, accumulate_grad_batches=3)
    with pytest.raises(DivergedError, match=r"stopped being finite at step 2$"):
        trainer.fit(tiny_module(), with_nan(4))


# -- half precision -------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_terms_are_reduced_in_single_precision_at_least(tmp_path: Path, precision: Any) -> None:
    recorder = Recorder()
    trainer = tiny_trainer(tmp_path, logger=recorder, precision=precision, log_every_n_steps=1)
    trainer.fit(tiny_module(tiny_vae(image_shape=(1, 28, 28))), large_batches(), large_batches())
    for tag in ("val/{}", "train/{}", "train/{}_step"):
        points = {name: recorder.values(tag.format(name)) for name in TERMS}
        for (_, elbo), (_, rate), (_, distortion), (_, loss) in zip(*points.values(), strict=True):
            # In bfloat16, numbers of this size are 2 or 4 apart.
            assert elbo == pytest.approx(-rate - distortion, rel=1e-6)
            assert loss == pytest.approx(-elbo, rel=1e-6)
            assert 400 < loss < 800


def large_batches() -> Batches:
    return Batches(*(torch.rand(7, 1, 28, 28) for _ in range(2)))


# -- divergence -----------------------------------------------------------------------------------


def with_nan(number: int, count: int = 7) -> Batches:
    """Batches of which one, counted from zero, has a broken pixel."""
    loader = batches(*[4] * count)
    loader.images[number][1, 0, 2, 2] = math.nan
    return loader


@pytest.mark.parametrize("interval", [1, 2, 50])
def test_divergence_names_the_step_however_late_it_is_read(tmp_path: Path, interval: int) -> None:
    trainer = tiny_trainer(tmp_path, max_epochs=3, log_every_n_steps=interval)
    with pytest.raises(DivergedError, match=r"stopped being finite at step 5$"):
        trainer.fit(tiny_module(), with_nan(4))
    assert trainer.current_epoch == 0


def test_divergence_in_a_later_epoch_names_the_step_from_the_start(tmp_path: Path) -> None:
    class Plant(Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch == 1:
                loader.images[0].fill_(math.nan)

    loader = batches(4, 4, 4)
    trainer = tiny_trainer(tmp_path, Plant(), max_epochs=3)
    with pytest.raises(DivergedError, match=r"at step 4$"):
        trainer.fit(tiny_module(), loader)


def parts_named_by(error: DivergedError) -> set[str]:
    return set(str(error).split(" stopped ")[0].split(" and "))


def test_divergence_names_the_side_that_broke(tmp_path: Path) -> None:
    model = tiny_vae()
    with torch.no_grad():
        head(model.likelihood).bias[0] = math.inf
    with pytest.raises(DivergedError, match="at step 1") as caught:
        tiny_trainer(tmp_path).fit(tiny_module(model), batches(4, 4))
    # What follows from it may be named as well, but not the other side.
    assert "distortion" in parts_named_by(caught.value)
    assert "rate" not in parts_named_by(caught.value)

    model = tiny_vae()
    with torch.no_grad():
        # exp(50)^2 is a variance beyond float32; a likelihood without weights hides the samples.
        head(model.posterior).bias[2:] = 100.0
        head(model.likelihood).weight.zero_()
    with pytest.raises(DivergedError, match="at step 1") as caught:
        tiny_trainer(tmp_path).fit(tiny_module(model), batches(4, 4))
    assert "rate" in parts_named_by(caught.value)
    assert "distortion" not in parts_named_by(caught.value)


def test_divergence_of_the_loss_alone_is_noticed(tmp_path: Path) -> None:
    class Broken(ELBO):
        def forward(self, trace: Trace, step: int) -> tuple[Tensor, dict[str, Tensor]]:
            loss, parts = super().forward(trace, step)
            return (loss * math.nan if step == 2 else loss), parts

    module = tiny_module()
    module.objective = Broken(1, 1.0, Constant(), 0.0)
    with pytest.raises(DivergedError, match=r"^loss stopped being finite at step 3$"):
        tiny_trainer(tmp_path).fit(module, batches(4, 4, 4, 4))


def test_a_broken_run_hands_no_means_to_what_follows(tmp_path: Path) -> None:
    epochs: list[int] = []

    class Count(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            epochs.append(trainer.current_epoch)

    trainer = tiny_trainer(tmp_path, Count(), max_epochs=3)
    with pytest.raises(DivergedError):
        trainer.fit(tiny_module(), with_nan(6))
    assert epochs == []
    assert "train/loss" not in trainer.callback_metrics


def test_batch_norm_trains_with_averaged_weights_and_a_last_batch_of_one_image(
    tmp_path: Path,
) -> None:
    model = tiny_vae(batch_norm=True)
    trainer = tiny_trainer(tmp_path, EMAWeightAveraging(decay=0.5), max_epochs=3)
    trainer.fit(tiny_module(model), tiny_data(batch_size=17))  # of 18
    norms = [part for part in model.modules() if isinstance(part, BatchNorm)]
    assert len(norms) == 2
    assert all(buffer.isfinite().all() for norm in norms for buffer in norm.buffers())
    assert not torch.equal(norms[0].get_buffer("running_mean"), torch.zeros(8))
    assert model.eval()(torch.rand(5, 1, SIZE, SIZE), 1).elbo.isfinite().all()
