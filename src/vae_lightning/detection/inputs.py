"""What is scored: the test split, another data set beside it, or a user's own images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vae_lightning.cli.error_messages import quoted
from vae_lightning.cli.workspace import Workspace
from vae_lightning.config import check_type, compose, instantiate, nearest, to_container
from vae_lightning.data import ImageDataModule
from vae_lightning.data.files import NamedImages, read_inputs
from vae_lightning.errors import ConfigError, DataError


@dataclass(frozen=True)
class Subjects:
    """Images to be scored.

    Attributes:
        title: what they are, for people.
        images: uint8 (N, C, H, W), as the model was trained to see images.
        names: where each comes from.
        anomaly: bool (N,), whether each is one, where that is known.
        classes: what each shows, where that is known.
    """

    title: str
    images: Tensor
    names: Sequence[str]
    anomaly: Tensor | None
    classes: Sequence[str] | None = None


@dataclass(frozen=True)
class Sources:
    """Where the images come from, if not from the test split alone.

    Attributes:
        own: a user's own images.
        other: another data set, whose test images are the anomalies.
    """

    own: NamedImages | None = None
    other: ImageDataModule | None = None


def check_sources(workspace: Workspace) -> Sources:
    """Refuse what cannot be scored; a user's own images are read here, so that no run begins.

    Raises:
        ConfigError: a value that does not fit.
        DataError: images that cannot be read, or of another size.
    """
    config = workspace.config
    check_type(config["input"], str | None, "input")
    check_type(config["fit"], bool, "fit")
    check_type(config["against"], str | None, "against")
    if config["input"] is not None and config["against"] is not None:
        raise ConfigError("input and against are both set: anomalies come from one of them")
    if config["input"] is not None:
        return Sources(own=_own_images(config, workspace.model.image_shape))
    if config["against"] is not None:
        return Sources(other=other_data(config["against"], workspace.datamodule))
    return Sources()


def _own_images(config: dict[str, Any], image_shape: Sequence[int]) -> NamedImages:
    """Read what `input` names.

    Raises:
        DataError: as `read_inputs`, and labels other than 0 and 1.
    """
    found = read_inputs(Path(config["input"]).expanduser(), image_shape, config["fit"])
    if found.labels is not None and not torch.isin(found.labels, torch.tensor([0, 1])).all():
        raise DataError(f"{config['input']} holds labels other than 0 (normal) and 1 (anomaly)")
    return found


def subjects_of(workspace: Workspace, sources: Sources) -> Subjects:
    """What a configuration asks to score.

    Raises:
        DataError: it cannot be had.
    """
    config, data = workspace.config, workspace.data
    if (own := sources.own) is not None:
        anomaly = None if own.labels is None else own.labels == 1
        return Subjects(config["input"], data.protocol.as_evaluated(own.images), own.names, anomaly)
    images, labels = workspace.images("test")
    places = _places(data, held_out=False)
    if (other := sources.other) is not None:
        other.prepare_data()
        other.setup("test")
        anomalies, classes = other.evaluated("test")
        name, names = other.name, [f"{other.name}/{place}" for place in range(len(anomalies))]
        shown = _shown(other, classes)
    else:
        anomalies, classes = data.held_out_images()
        held_out = ", ".join(data.class_names[label] for label in data.protocol.held_out)
        name = f"those of class {held_out}" if held_out else ""
        names = [f"{data.name}/{place}" for place in _places(data, held_out=True)]
        shown = _shown(data, classes)
    return Subjects(
        f"the test split of {data.name}" + (f", {name} as anomalies" if name else ""),
        torch.cat([images, anomalies]),
        [*(f"{data.name}/{place}" for place in places), *names],
        torch.arange(len(images) + len(anomalies)) >= len(images),
        [*_shown(data, labels), *shown] if data.class_names or len(anomalies) else None,
    )


def _shown(data: ImageDataModule, labels: Tensor) -> list[str]:
    """What images of a data set show: their classes, or where there are none what it is called."""
    if not data.class_names:
        return [str(data.name)] * len(labels)
    return [data.class_names[label] for label in labels.tolist()]


def other_data(option: str, data: ImageDataModule) -> ImageDataModule:
    """Another data set, served as the first one is.

    Args:
        option: of the group `data`.
        data: of the training.

    Raises:
        ConfigError: it does not exist, is a folder, is the same one, or has other channels.
    """
    from hydra.utils import get_class

    from vae_lightning.config import CONF_DIR

    known = [path.stem for path in (CONF_DIR / "data").glob("*.yaml")]
    if option not in known:
        raise ConfigError(f"against={option} is not there: {nearest(option, known)}")
    node = to_container(compose("train", [f"data={quoted(option)}"]).data)
    if not getattr(get_class(node["_target_"]), "shared_root", True):
        raise ConfigError(f"against={option} is not one data set: set input to a folder of images")
    node |= {
        "size": data.protocol.size,
        "binarize": data.protocol.binarize,
        "val_size": 0,
        "held_out": [],
    }
    if data.shared_root:  # not so a folder of a user's own, which no other data set is in
        node["root"] = str(data.protocol.root)
    other: ImageDataModule = instantiate(node, "against")
    if other.name == data.name:
        raise ConfigError(f"against={option} is what the model was trained on: name another")
    if other.source.channels != data.source.channels:
        raise ConfigError(
            f"against={option} has images of {other.source.channels} channels, and the model "
            f"takes {data.source.channels}"
        )
    return other


def _places(data: ImageDataModule, held_out: bool) -> list[int]:
    """Where the images of a data set's test split stand among all, whatever is held out."""
    _, labels = data.official(train=False)
    chosen = (
        torch.isin(labels, torch.tensor(data.protocol.held_out, dtype=labels.dtype)) == held_out
    )
    return chosen.nonzero().flatten().tolist()
