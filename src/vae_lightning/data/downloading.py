"""Downloading archives: a folder holds a file completely or not at all."""

import errno
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vae_lightning.errors import DataError

# How long to wait for a mirror to answer.
TIMEOUT_SECONDS = 10.0


def fetch_archive(folder: Path, archive: str, checksum: str, mirrors: Sequence[str]) -> None:
    """Put an archive and its content into a folder, unless the content is there.

    Both are made in a temporary folder and moved when they are complete. So a download that fails
    or is interrupted leaves nothing behind, `folder` itself included.

    Args:
        folder: created if it is missing.
        archive: the name of a `.gz` file; one in the folder with the right checksum is unpacked.
        checksum: MD5 of the archive, in hexadecimal digits.
        mirrors: the addresses to download it from, tried in order.

    Raises:
        DataError: no mirror has it, or it cannot be written; the message gives each reason.
    """
    from torchvision.datasets.utils import check_integrity, extract_archive

    file = folder / archive
    if file.with_suffix("").exists():
        return
    try:
        with _temporary_folder_near(folder) as temporary:
            complete = file
            if not check_integrity(str(file), checksum):
                complete = _download(temporary / archive, checksum, mirrors, file)
            content = Path(extract_archive(str(complete), str(temporary)))
            folder.mkdir(parents=True, exist_ok=True)
            if complete != file:
                complete.replace(file)
            content.replace(file.with_suffix(""))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DataError(f"no space left for {file}") from error
        raise DataError(f"{file} cannot be written: {error.strerror or error}") from error


def _download(target: Path, checksum: str, mirrors: Sequence[str], wanted: Path) -> Path:
    """Download `target` from the first mirror that has it; `wanted` is its name in messages."""
    from torchvision.datasets.utils import download_url

    reasons = []
    for mirror in mirrors:
        try:
            with _socket_timeout(TIMEOUT_SECONDS):
                download_url(mirror + target.name, str(target.parent), target.name, checksum)
            return target
        except (RuntimeError, OSError, EOFError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise
            reasons.append(f"{mirror} ({_reason(error)})")
    problem = (
        f"{wanted} fails its checksum and no mirror has a good copy"
        if wanted.exists()
        else f"{wanted} is missing and could not be downloaded"
    )
    raise DataError(f"{problem}: {'; '.join(reasons)}")


@contextmanager
def _temporary_folder_near(folder: Path) -> Iterator[Path]:
    """A folder on the disk of `folder`, to or from which a file can be moved in one step."""
    existing = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    with tempfile.TemporaryDirectory(dir=existing, prefix=".download-") as temporary:
        yield Path(temporary)


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in {TIMEOUT_SECONDS:g} s"
    return str(getattr(error, "reason", error)).splitlines()[0]
