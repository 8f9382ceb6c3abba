"""What a job of a sweep has left in its folder: a result, an error, or a checkpoint to go on from.

Imports neither torch nor lightning.
"""

import json
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

# The message with which a job has failed.
ERROR_FILE = "error.txt"
# Held by the process that runs the job.
LOCK_FILE = ".lock"

# `val/elbo` of the checkpoint that is kept, which a sweeper optimises.
_SCORE = "val/best_elbo"


def is_finished(folder: Path, evaluates: bool) -> bool:
    """Whether a job has written its results.

    Args:
        folder: of the job.
        evaluates: the job also evaluates its best checkpoint, after that.
    """
    if not (folder / "metrics.json").is_file():
        return False
    return not evaluates or any(folder.glob("evaluate/*/metrics.json"))


def last_checkpoint(folder: Path) -> Path | None:
    """The checkpoint that a job goes on from; None if it has not saved one.

    A file that is cut short, because the process was killed while it wrote, is passed over.
    """
    files = (folder / "checkpoints" / name for name in ("last.ckpt", "best.ckpt"))
    return next((file for file in files if is_zipfile(file)), None)


def result(folder: Path) -> dict[str, Any]:
    """The metrics that a job has written; nothing if they cannot be read."""
    try:
        return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def score(folder: Path) -> float | None:
    """`val/elbo` of the checkpoint that a job has kept, in nats; None without validation."""
    return result(folder).get(_SCORE)


def error_of(folder: Path) -> str | None:
    """The message with which a job has failed; None if it has not."""
    try:
        return (folder / ERROR_FILE).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def record_error(folder: Path, message: str) -> None:
    """Write the message with which a job has failed into its folder."""
    if folder.is_dir():
        (folder / ERROR_FILE).write_text(f"{message}\n", encoding="utf-8")


def is_running(folder: Path) -> bool:
    """Whether a process holds the lock of a job."""
    from filelock import FileLock, Timeout

    if not (folder / LOCK_FILE).exists():
        return False
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False
