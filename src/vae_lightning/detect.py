"""Anomaly scores of images: `python -m vae_lightning.detect ckpt_path=<run>`."""

from typing import TYPE_CHECKING, Any

from vae_lightning.cli.command import run

if TYPE_CHECKING:  # a run needs it; --help and --cfg answer without
    from vae_lightning.detection.run import Detection


def prepare(config: dict[str, Any]) -> "Detection":
    """Check a detection and build what it needs; see `detection.run.prepare`."""
    from vae_lightning.detection.run import prepare

    return prepare(config)


def detect(detection: "Detection") -> None:
    """Score images, as `detection.run.detect`."""
    from vae_lightning.detection.run import detect

    detect(detection)


def main() -> None:
    run("detect", prepare=prepare, task=detect)


if __name__ == "__main__":
    main()
