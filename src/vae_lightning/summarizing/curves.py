"""Training curves, from the files of the loggers. Imports neither torch nor lightning."""

import csv
from collections import defaultdict
from collections.abc import Collection, Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median

# Logged once per epoch.
_ONCE_PER_EPOCH = "train/elbo"
# Records with pictures are larger; a scalar takes about 60 bytes.
_LARGEST_SCALAR = 1000


def curve(run: Path, tag: str) -> list[tuple[float, float]]:
    """A metric over the epochs: TensorBoard's points, or those of `metrics.csv`.

    Args:
        run: its folder.
        tag: of the metric, which is logged at most once per epoch.

    Returns:
        epoch, counted from 1, and value, in the order of the epochs; empty without a logger.
    """
    points = {}
    for file in sorted(run.glob("*/metrics.csv")):
        with file.open(encoding="utf-8", newline="") as lines:
            for line in csv.DictReader(lines):
                if line.get(tag) and line.get("epoch"):
                    points[float(line["epoch"]) + 1] = float(line[tag])
    if points:
        return sorted(points.items())
    # Validation has files of its own, in a folder below those of training.
    files = [
        file for place in ("*", "*/val") for file in run.glob(f"{place}/events.out.tfevents.*")
    ]
    found = scalars(sorted(files), (tag, _ONCE_PER_EPOCH))
    steps = sorted(found[_ONCE_PER_EPOCH] or found[tag])
    if not steps:
        return []
    # The first point of a resumed run is later than the first epoch.
    gaps = [later - earlier for earlier, later in pairwise(steps)]
    per_epoch = median(gaps) if gaps else steps[0]
    return [(step / max(per_epoch, 1), value) for step, value in sorted(found[tag].items())]


def scalars(files: Collection[Path], tags: Collection[str]) -> dict[str, dict[int, float]]:
    """Some scalars of event files, by tag and step.

    TensorBoard's own reader computes a checksum of every picture, in Python: 0.3 s for the files of
    a run of two epochs, in place of 1 ms.
    """
    from tensorboard.compat.proto.event_pb2 import Event

    found: dict[str, dict[int, float]] = defaultdict(dict)
    names = [tag.encode() for tag in tags]
    for file in files:
        for record in _small_records(file):
            if any(name in record for name in names):
                event = Event.FromString(record)
                for value in event.summary.value:
                    if value.tag in tags and value.HasField("simple_value"):
                        found[value.tag][event.step] = value.simple_value
    return found


def _small_records(file: Path) -> Iterator[bytes]:
    """The records of an event file that can be scalars; the last one may still be being written.

    A record is its length in 8 bytes, a checksum in 4, the bytes, and their checksum in 4.
    """
    with file.open("rb") as content:
        while len(header := content.read(12)) == 12:
            length = int.from_bytes(header[:8], "little")
            if length > _LARGEST_SCALAR:
                content.seek(length + 4, 1)
                continue
            record = content.read(length + 4)
            if len(record) < length + 4:
                return
            yield record[:length]
