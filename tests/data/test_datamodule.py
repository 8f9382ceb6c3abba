from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
import torch
from torch import Tensor

from vae_lightning.data import ImageDataModule, binarization
from vae_lightning.data.batches import Batch, ResidentBatches
from vae_lightning.data.binarization import Binarize
from vae_lightning.data.sources import Digits, Source

NUM_TRAIN, NUM_TEST, VAL_SIZE = 53, 20, 11
Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


class Numbered(Source):
    """Images that say which they are: each pixel of an image is the image's number."""

    title = "numbered"
    channels = 1
    size = 8
    num_train = NUM_TRAIN
    num_test = NUM_TEST

    def fetch(self, root: Path) -> None:
        pass

    def load(self, root: Path, train: bool) -> tuple[Tensor, Tensor]:
        numbers = torch.arange(NUM_TRAIN) if train else torch.arange(100, 100 + NUM_TEST)
        return numbers.to(torch.uint8)[:, None, None, None].repeat(1, 1, 8, 8), numbers


class Grey(Numbered):
    """Every pixel of every image has the same grey: what differs was drawn."""

    level = 128

    def load(self, root: Path, train: bool) -> tuple[Tensor, Tensor]:
        images, numbers = super().load(root, train)
        return torch.full_like(images, self.level), numbers


def datamodule(source: Source | None = None, **options: Any) -> ImageDataModule:
    values: dict[str, Any] = {
        "name": "numbered",
        "source": source or Numbered(),
        "root": "nowhere",
        "size": 8,
        "channels": 1,
        "num_classes": 10,
        "batch_size": 16,
        "eval_batch_size": 7,
        "val_size": VAL_SIZE,
        "validation": "split",
        "binarize": "none",
        "held_out": [],
        "seed": 3,
    }
    module = ImageDataModule(**{**values, **options})
    module.prepare_data()
    module.setup("fit")
    return module


def loader(module: ImageDataModule, split: Split) -> ResidentBatches:
    batches = getattr(module, f"{split}_dataloader")()
    assert isinstance(batches, ResidentBatches)
    return batches


def gather(batches: Iterable[Batch]) -> Batch:
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


def by_number(batches: Iterable[Batch]) -> Tensor:
    images, labels = gather(batches)
    return images[labels.argsort()]


def numbers(module: ImageDataModule, split: Split) -> list[int]:
    return gather(loader(module, split))[1].tolist()


def assert_same_batches(got: list[Batch], expected: list[Batch]) -> None:
    assert len(got) == len(expected)
    for (images, labels), (expected_images, expected_labels) in zip(got, expected, strict=True):
        assert torch.equal(images, expected_images)
        assert torch.equal(labels, expected_labels)


# -- splits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("val_size", [0, 1, VAL_SIZE, NUM_TRAIN - 1])
def test_training_and_validation_images_are_together_exactly_the_training_split(
    val_size: int,
) -> None:
    module = datamodule(val_size=val_size)
    validation = numbers(module, "val") if val_size else []
    assert len(validation) == val_size
    assert sorted(numbers(module, "train") + validation) == list(range(NUM_TRAIN))


def test_the_test_split_is_complete_in_order_and_disjoint_from_the_others() -> None:
    module = datamodule()
    assert numbers(module, "test") == list(range(100, 100 + NUM_TEST))
    assert max(numbers(module, "train") + numbers(module, "val")) < 100


@pytest.mark.parametrize("split", SPLITS)
def test_an_image_keeps_its_label_in_every_split(split: Split) -> None:
    images, labels = gather(loader(datamodule(), split))
    assert torch.equal(images, (labels / 255)[:, None, None, None].expand_as(images))


def test_the_validation_images_are_the_same_for_every_seed() -> None:
    chosen = [numbers(datamodule(seed=seed), "val") for seed in (0, 1, 42)]
    assert chosen[0] == chosen[1] == chosen[2]
    # The first or last images of a file are often of one writer or one class.
    assert sorted(chosen[0]) not in (
        list(range(VAL_SIZE)),
        list(range(NUM_TRAIN - VAL_SIZE, NUM_TRAIN)),
    )


def test_without_validation_images_there_is_no_validation_loader() -> None:
    module = datamodule(val_size=0)
    assert module.val_dataloader() == []
    assert module.num_images == {"train": NUM_TRAIN, "val": 0, "test": NUM_TEST}


def test_validation_on_the_test_split_serves_the_test_images() -> None:
    module = datamodule(validation="test", val_size=0)
    assert_same_batches(list(loader(module, "val")), list(loader(module, "test")))
    assert sorted(numbers(module, "train")) == list(range(NUM_TRAIN))


@pytest.mark.parametrize("validation", ["split", "test"])
@pytest.mark.parametrize("val_size", [0, 137])
def test_num_images_is_the_number_of_images_served(validation: str, val_size: int) -> None:
    module = datamodule(Digits(), validation=validation, val_size=val_size)
    counts = module.num_images
    for split in SPLITS:
        if counts[split]:
            assert len(gather(loader(module, split))[0]) == counts[split]
    assert counts["test"] == 360
    assert counts["train"] == 1437 - val_size


def test_images_of_held_out_classes_are_not_counted() -> None:
    module = datamodule(Digits(), held_out=[0], val_size=137)
    assert module.num_images == {"train": 1157, "val": 137, "test": 325}


# -- binarisation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("binarize", ["threshold", "fixed", "dynamic"])
def test_binarised_pixels_are_black_or_white(binarize: Binarize, split: Split) -> None:
    images, _ = gather(loader(datamodule(Digits(), binarize=binarize), split))
    assert images.unique().tolist() == [0.0, 1.0]


def test_without_binarisation_pixels_keep_their_grey() -> None:
    module = datamodule(Digits(), binarize="none", val_size=0)
    images, labels = Digits().load(Path("nowhere"), train=False)
    served = gather(loader(module, "test"))
    assert torch.equal(served[0], images.float() / 255)
    assert torch.equal(served[1], labels)


def test_the_threshold_is_at_one_half() -> None:
    source = Grey()
    for level, expected in ((0, 0), (127, 0), (128, 1), (255, 1)):
        source.level = level
        module = datamodule(source, binarize="threshold")
        for split in SPLITS:
            assert gather(loader(module, split))[0].unique().tolist() == [expected]


def test_dynamic_binarisation_redraws_the_training_images_in_each_epoch() -> None:
    batches = loader(datamodule(Grey(), binarize="dynamic"), "train")
    epochs = []
    for epoch in (0, 1, 0):
        batches.batch_sampler.set_epoch(epoch)
        epochs.append(by_number(batches))
    assert not torch.equal(epochs[0], epochs[1])
    assert torch.equal(epochs[0], epochs[2])


@pytest.mark.parametrize("binarize", ["fixed", "dynamic"])
@pytest.mark.parametrize("level", [0, 26, 128, 250, 255])
def test_a_pixel_is_white_with_its_grey_value_as_the_probability(
    binarize: Binarize, level: int
) -> None:
    source = Grey()
    source.level = level
    module = datamodule(source, binarize=binarize)
    drawn = {split: by_number(loader(module, split)) for split in SPLITS}
    batches = loader(module, "train")
    if binarize == "dynamic":
        drawn["train"] = torch.stack([drawn["train"], *_epochs(batches, range(1, 30))])
    probability = level / 255
    for pixels in drawn.values():
        deviation = (probability * (1 - probability) / pixels.numel()) ** 0.5
        assert abs(float(pixels.mean()) - probability) <= 4 * deviation


def _epochs(batches: ResidentBatches, epochs: Iterable[int]) -> list[Tensor]:
    drawn = []
    for epoch in epochs:
        batches.batch_sampler.set_epoch(epoch)
        drawn.append(by_number(batches))
    return drawn


def test_fixed_binarisation_is_the_same_in_every_epoch_and_for_every_seed() -> None:
    first, second = (loader(datamodule(Grey(), binarize="fixed", seed=s), "train") for s in (0, 1))
    epochs = _epochs(first, range(3)) + _epochs(second, range(2))
    for epoch in epochs[1:]:
        assert torch.equal(epoch, epochs[0])


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("binarize", ["fixed", "dynamic"])
def test_validation_and_test_draws_depend_on_no_seed_epoch_or_batch_size(
    binarize: Binarize, split: Split
) -> None:
    draws = []
    for options in ({}, {"seed": 0}, {"eval_batch_size": 1000}, {"batch_size": 5}):
        batches = loader(datamodule(Grey(), binarize=binarize, **options), split)
        draws += _epochs(batches, range(2))
    for draw in draws[1:]:
        assert torch.equal(draw, draws[0])
    assert 0 < float(draws[0].mean()) < 1


@pytest.mark.parametrize("binarize", ["fixed", "dynamic"])
def test_no_two_images_are_binarised_with_the_same_noise(binarize: Binarize) -> None:
    # Images that are all alike before the draw differ after it, also between splits.
    module = datamodule(Grey(), binarize=binarize)
    images = torch.cat([gather(loader(module, split))[0] for split in SPLITS])
    assert len(images.flatten(1).unique(dim=0)) == NUM_TRAIN + NUM_TEST


@pytest.mark.parametrize("binarize", ["none", "threshold", "fixed", "dynamic"])
def test_images_from_outside_the_data_are_binarised_as_the_test_split_is(
    binarize: Binarize,
) -> None:
    protocol = datamodule(binarize=binarize).protocol
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (5, 1, 4, 4), dtype=torch.uint8, generator=generator)
    found = protocol.as_evaluated(images)
    if binarize == "none":
        assert found.equal(images)
    elif binarize == "threshold":
        assert found.equal(binarization.threshold(images))
    else:
        assert set(found.unique().tolist()) == {0, 255}
        assert found.equal(protocol.as_evaluated(images))


# -- batches --------------------------------------------------------------------------------------


def resident(count: int = 50, **options: Any) -> ResidentBatches:
    images = torch.full((count, 1, 4, 4), 128, dtype=torch.uint8)
    values = {"batch_size": 16, "shuffle": True, "seed": 0, **options}
    return ResidentBatches(images, torch.arange(count), **values)


def order(batches: ResidentBatches, epoch: int = 0) -> list[int]:
    batches.batch_sampler.set_epoch(epoch)
    return gather(batches)[1].tolist()


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    batches = resident(seed=5)
    epochs = [order(batches, epoch) for epoch in range(3)]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    # In any other sequence, and from another object, an epoch is what it was.
    again = resident(seed=5)
    assert [order(again, epoch) for epoch in (2, 0, 1)] == [epochs[2], epochs[0], epochs[1]]
    assert order(resident(seed=6)) != epochs[0]


def test_seed_zero_is_not_a_special_case() -> None:
    assert order(resident(seed=0)) == order(resident(seed=0))
    assert order(resident(seed=0)) != order(resident(seed=1))
    first, again, other = (gather(resident(seed=s, binarize=True)) for s in (0, 0, 1))
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])


def test_batches_neither_depend_on_the_global_generator_nor_advance_it() -> None:
    expected = list(resident(binarize=True))
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert_same_batches(list(resident(binarize=True)), expected)
    assert torch.equal(torch.get_rng_state(), state)


def test_each_image_is_served_once_in_an_epoch_and_not_in_the_order_of_the_file() -> None:
    for epoch in range(3):
        drawn = order(resident(), epoch)
        assert sorted(drawn) == list(range(50))
        assert drawn != sorted(drawn)


def test_unshuffled_batches_keep_the_order_in_every_epoch() -> None:
    batches = resident(shuffle=False)
    assert order(batches, 0) == order(batches, 1) == list(range(50))


@pytest.mark.parametrize(
    ("count", "sizes"), [(50, [16, 16, 16, 2]), (48, [16, 16, 16]), (3, [3]), (17, [16, 1])]
)
def test_the_last_batch_has_the_remaining_images(count: int, sizes: list[int]) -> None:
    batches = resident(count)
    assert [len(labels) for _, labels in batches] == sizes
    assert len(batches) == len(sizes)


def test_images_stay_bytes_until_they_are_served() -> None:
    batches = loader(datamodule(Digits()), "train")
    assert batches.images.dtype == torch.uint8
    images, labels = next(iter(batches))
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert images.shape == (16, 1, 8, 8)
    assert (float(images.min()), float(images.max())) == (0, 1)


# -- several processes ----------------------------------------------------------------------------


# The last batch of all is short, whole, or has fewer images than there are processes.
COUNTS = [50, 48, 49, 97]


def parts(count: int, world_size: int, **options: Any) -> list[list[Batch]]:
    """The batches of an epoch, by process."""
    processes = [
        resident(count, process=(rank, world_size), **options) for rank in range(world_size)
    ]
    for batches in processes:
        batches.batch_sampler.set_epoch(4)
    served = [list(batches) for batches in processes]
    # A process with a batch less would leave the others waiting for it.
    assert [len(batches) for batches in processes] == [len(served[0])] * world_size
    return served


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("count", COUNTS)
def test_processes_train_on_each_image_once_in_the_batches_of_one(
    count: int, world_size: int
) -> None:
    served = parts(count, world_size, batch_size=8)
    alone = list(parts(count, 1, batch_size=8 * world_size)[0])
    together = [
        sorted(label for _, labels in batches for label in labels.tolist())
        for batches in zip(*served, strict=True)
    ]
    expected = [sorted(labels.tolist()) for _, labels in alone]
    if len(expected) > len(together):  # too few for a batch of each process: they join the last one
        assert len(expected.pop()) < world_size
        rest = set(range(count)) - {label for labels in expected for label in labels}
        expected[-1] = sorted({*expected[-1], *rest})
    assert together == expected


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("count", COUNTS)
def test_an_image_weighs_the_same_in_the_mean_of_processes(count: int, world_size: int) -> None:
    processes = [resident(count, process=(rank, world_size)) for rank in range(world_size)]
    for step in zip(*processes, strict=True):
        sizes = [len(labels) for _, labels in step]
        shares = [batches.shares.popleft() for batches in processes]
        assert shares == pytest.approx([size * world_size / sum(sizes) for size in sizes])
    assert not any(batches.shares for batches in processes)


def test_batches_drawn_in_advance_leave_no_shares_to_the_next_epoch() -> None:
    batches = resident(process=(0, 2))
    next(iter(batches))
    list(batches)
    assert len(batches.shares) == len(batches)


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("count", [5, *COUNTS])
def test_processes_evaluate_the_batches_of_one_in_turn(count: int, world_size: int) -> None:
    options: dict[str, Any] = {"shuffle": False, "whole_batches": True, "batch_size": 16}
    served = parts(count, world_size, **options)
    in_turn = [batch for batches in zip(*served, strict=True) for batch in batches]
    alone = parts(count, 1, **options)[0]
    assert_same_batches(in_turn[: len(alone)], alone)
    for images, labels in in_turn[len(alone) :]:
        assert images.shape == (0, 1, 4, 4)
        assert labels.shape == (0,)


def test_each_process_binarises_with_its_own_noise() -> None:
    first, second = (gather(resident(binarize=True, process=(rank, 2)))[0] for rank in (0, 1))
    assert not torch.equal(first, second)


# -- resuming -------------------------------------------------------------------------------------


@pytest.mark.parametrize("binarize", [False, True])
@pytest.mark.parametrize("drawn", [1, 3])
def test_a_resumed_epoch_continues_with_exactly_the_remaining_batches(
    drawn: int, binarize: bool
) -> None:
    batches = resident(binarize=binarize)
    batches.batch_sampler.set_epoch(2)
    whole = list(batches)
    iterator = iter(batches)
    for _ in range(drawn):
        next(iterator)

    resumed = resident(binarize=binarize)
    resumed.load_state_dict(batches.state_dict())
    resumed.batch_sampler.set_epoch(2)
    assert_same_batches(list(resumed), whole[drawn:])

    # The next epoch is complete again.
    for each in (batches, resumed):
        each.batch_sampler.set_epoch(3)
    assert_same_batches(list(resumed), list(batches))


def test_a_state_saved_at_the_end_of_an_epoch_starts_a_complete_next_epoch() -> None:
    batches = resident()
    list(batches)
    resumed = resident()
    resumed.load_state_dict(batches.state_dict())
    assert sorted(order(resumed, 1)) == list(range(50))


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 3), (3, 2)])
@pytest.mark.parametrize("count", COUNTS)
def test_an_epoch_goes_on_in_another_number_of_processes(
    count: int, before: int, after: int
) -> None:
    first = resident(count, batch_size=4, process=(0, before))
    for drawn in range(1, len(first) + 1):
        iterator = iter(first)
        for _ in range(drawn):
            next(iterator)
        seen = set(first.batch_sampler.indices()[: drawn * 4 * before].tolist())
        rest: list[int] = []
        for rank in range(after):
            resumed = resident(count, batch_size=4, process=(rank, after))
            resumed.load_state_dict(first.state_dict())
            rest += order(resumed)
        if drawn == len(first):
            assert sorted(rest) == list(range(count))  # the next epoch
        else:
            # Each image once, up to those of a batch that was half done.
            assert len(set(rest)) == len(rest)
            assert seen | set(rest) == set(range(count))
            assert len(seen & set(rest)) < 4 * after + after


# -- names ---------------------------------------------------------------------------------------


def test_test_images_are_named_by_their_index_in_the_official_test_split() -> None:
    module = datamodule(Digits(), held_out=[2, 3])
    _, labels = Digits().load(Path("nowhere"), train=False)
    for held_out in (False, True):
        found = module.named_test_images(held_out=held_out)
        indices = [int(name.removeprefix("numbered/")) for name in found.names]
        chosen = torch.isin(labels, torch.tensor([2, 3])) == held_out
        assert indices == chosen.nonzero().flatten().tolist()
        assert found.labels is not None
        assert torch.equal(found.labels, labels[indices])


# -- first images --------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
def test_images_are_the_first_ones_of_the_split(split: Split) -> None:
    module = datamodule()
    images, labels = module.images(split, 5)
    assert images.dtype == torch.float32
    assert images.shape == (5, 1, 8, 8)
    assert torch.equal(images, (labels / 255)[:, None, None, None].expand_as(images))
    if split != "train":
        assert labels.tolist() == numbers(module, split)[:5]
    assert set(labels.tolist()) <= set(numbers(module, split))


def test_a_count_beyond_the_split_returns_all_images() -> None:
    images, labels = datamodule().images("test", 10_000)
    assert len(images) == len(labels) == NUM_TEST
