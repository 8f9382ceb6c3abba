"""The images to score: the test split, with another data set as anomalies, or the user's images."""

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
from vae_lightning.data.image_files import NamedImages, read_inputs
from vae_lightning.errors import ConfigError, DataError


@dataclass(frozen=True)
class DetectionInputs:
    """Images to score.

    Attributes:
        title: description in reports.
        images: uint8 (N, C, H, W), binarised as for evaluation.
        names: of the images.
        is_anomaly: bool (N,); None if it is not known.
        class_names: of each image; None if they are not known.
    """

    title: str
    images: Tensor
    names: Sequence[str]
    is_anomaly: Tensor | None
    class_names: Sequence[str] | None = None


@dataclass(frozen=True)
class InputSource:
    """Where images come from in addition to the test split, or instead of it.

    Attributes:
        user_images: of the key `input`, read: they are scored instead of the test split.
        anomaly_data: of the key `against`, not read: its test images are added as anomalies.
    """

    user_images: NamedImages | None = None
    anomaly_data: ImageDataModule | None = None


def check_inputs(workspace: Workspace) -> InputSource:
    """Check the keys `input`, `fit` and `against`.

    The user's images are read here, so that an error comes before a run starts.

    Raises:
        ConfigError: a value does not fit.
        DataError: images cannot be read, or have another size.
    """
    config = workspace.config
    check_type(config["input"], str | None, "input")
    check_type(config["fit"], bool, "fit")
    check_type(config["against"], str | None, "against")
    if config["input"] is not None and config["against"] is not None:
        raise ConfigError("input and against are both set: anomalies come from one of them")
    if config["input"] is not None:
        return InputSource(user_images=_user_images(config, workspace.model.image_shape))
    if config["against"] is not None:
        return InputSource(anomaly_data=_anomaly_data(config["against"], workspace.datamodule))
    return InputSource()


def load_inputs(workspace: Workspace, source: InputSource) -> DetectionInputs:
    """Load the images to score.

    Raises:
        DataError: data is missing and cannot be downloaded, or cannot be read.
    """
    data = workspace.datamodule
    if (user := source.user_images) is not None:
        return DetectionInputs(
            title=workspace.config["input"],
            images=data.protocol.as_evaluated(user.images),
            names=user.names,
            is_anomaly=None if user.labels is None else user.labels == 1,
        )
    data = workspace.data
    normal = data.named_test_images()
    title = f"the test split of {data.name}"
    if (other := source.anomaly_data) is not None:
        other.prepare_data()
        other.setup("test")
        anomalies = other.named_test_images()
        title += f", {other.name} as anomalies"
    else:
        other = data
        anomalies = data.named_test_images(held_out=True)
        if data.protocol.held_out:
            held_out = ", ".join(data.class_names[label] for label in data.protocol.held_out)
            title += f", those of class {held_out} as anomalies"
    num_normal, num_anomalies = len(normal.images), len(anomalies.images)
    class_names = None
    if data.class_names or num_anomalies:
        class_names = [*_class_names(data, normal), *_class_names(other, anomalies)]
    return DetectionInputs(
        title=title,
        images=torch.cat([normal.images, anomalies.images]),
        names=[*normal.names, *anomalies.names],
        is_anomaly=torch.arange(num_normal + num_anomalies) >= num_normal,
        class_names=class_names,
    )


def _user_images(config: dict[str, Any], image_shape: Sequence[int]) -> NamedImages:
    found = read_inputs(Path(config["input"]).expanduser(), image_shape, config["fit"])
    if found.labels is not None and not torch.isin(found.labels, torch.tensor([0, 1])).all():
        raise DataError(f"{config['input']} holds labels other than 0 (normal) and 1 (anomaly)")
    return found


def _anomaly_data(option: str, data: ImageDataModule) -> ImageDataModule:
    """An option of the group `data` with the image size and binarisation of the training data."""
    from hydra.utils import get_class

    from vae_lightning.config import CONF_DIR

    options = [path.stem for path in (CONF_DIR / "data").glob("*.yaml")]
    if option not in options:
        raise ConfigError(f"against={option} does not exist: {nearest(option, options)}")
    node = to_container(compose("train", [f"data={quoted(option)}"]).data)
    if not getattr(get_class(node["_target_"]), "shared_root", True):
        raise ConfigError(f"against={option} is not one data set: set input to a folder of images")
    node |= {
        "size": list(data.protocol.size),
        "binarize": data.protocol.binarize,
        "val_size": 0,
        "held_out": [],
    }
    if data.shared_root:  # the root of an image folder holds no other data set
        node["root"] = str(data.protocol.root)
    other: ImageDataModule = instantiate(node, "against")
    if other.name == data.name:
        raise ConfigError(
            f"against={option} is the data set of training: name another, or leave against out"
        )
    if other.source.channels != data.source.channels:
        raise ConfigError(
            f"against={option} has images with {other.source.channels} channels, and the model "
            f"takes {data.source.channels}"
        )
    return other


def _class_names(data: ImageDataModule, images: NamedImages) -> list[str]:
    """The class of each image; the name of the data set if it has no classes."""
    assert images.labels is not None
    if not data.class_names:
        return [str(data.name)] * len(images.labels)
    return [data.class_names[label] for label in images.labels.tolist()]
