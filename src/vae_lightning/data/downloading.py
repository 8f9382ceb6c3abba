"""Downloading archives: a folder holds a file completely or not at all."""

import errno
import gzip
import hashlib
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vae_lightning.errors import DataError

# How long to wait for a mirror to answer.
TIMEOUT_SECONDS = 10.0
_BYTES_READ = 2**20


def fetch_file(folder: Path, name: str, checksum: str, addresses: Sequence[str]) -> None:
    """Put a file into a folder, unless it is there.

    Args:
        folder: created if it is missing.
        name: of the file.
        checksum: as for `matches`.
        addresses: of the file, tried in order.

    Raises:
        DataError: no address has it, or it cannot be written; the message gives each reason.
    """
    fetch_archive(folder, name, checksum, addresses, [name], lambda archive, into: None)


def fetch_archive(
    folder: Path,
    archive: str,
    checksum: str,
    addresses: Sequence[str],
    contents: Sequence[str],
    unpack: Callable[[Path, Path], None],
) -> None:
    """Put an archive and its content into a folder, unless the content is there.

    Both are made in a temporary folder and moved when they are complete. So a download that fails
    or is interrupted leaves nothing behind, `folder` itself included.

    Args:
        folder: created if it is missing.
        archive: the name of the archive; one in the folder with the right checksum is unpacked.
        checksum: as for `matches`.
        addresses: of the archive, tried in order.
        contents: names of the files and folders that it holds.
        unpack: given the archive and a folder, writes its content into the folder.

    Raises:
        DataError: no address has it, or it cannot be written; the message gives each reason.
    """
    file = folder / archive
    if all((folder / name).exists() for name in contents):
        return
    try:
        with _temporary_folder_near(folder) as temporary:
            complete = file
            if not matches(file, checksum):
                complete = _download(temporary / archive, checksum, addresses, file)
            unpack(complete, temporary)
            folder.mkdir(parents=True, exist_ok=True)
            if complete != file:
                complete.replace(file)
            for name in contents:
                if not (folder / name).exists():
                    (folder / name).parent.mkdir(exist_ok=True)
                    (temporary / name).replace(folder / name)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DataError(f"no space left for {file}") from error
        raise DataError(f"{file} cannot be written: {error.strerror or error}") from error


@contextmanager
def needed(title: str, folder: Path, files: str) -> Iterator[None]:
    """Add to an error which files of a data set go where.

    Args:
        title: of the data set.
        folder: of its files.
        files: names of what has to be there.

    Raises:
        DataError: there was one.
    """
    try:
        yield
    except DataError as error:
        raise DataError(f"{title} is not in {folder}: {error}. Put {files} there") from error


def matches(file: Path, checksum: str) -> bool:
    """Whether a file exists and has a checksum.

    Args:
        file: may be missing.
        checksum: in hexadecimal digits, 32 of an MD5, or 40 of the name that git gives the content.
    """
    if not file.is_file():
        return False
    if len(checksum) == 32:
        digest = hashlib.md5(usedforsecurity=False)
    else:
        digest = hashlib.sha1(f"blob {file.stat().st_size}\0".encode(), usedforsecurity=False)
    with file.open("rb") as opened:
        while part := opened.read(_BYTES_READ):
            digest.update(part)
    return digest.hexdigest() == checksum


def check_file(file: Path, checksum: str) -> None:
    """Check a file before it is read.

    Raises:
        DataError: it is missing or fails its checksum.
    """
    if not matches(file, checksum):
        problem = "fails its checksum" if file.exists() else "is missing"
        raise DataError(f"{file} {problem}: delete it and run again to download or unpack it again")


def gunzip(archive: Path, into: Path) -> None:
    """Unpack a `.gz` file into a folder."""
    with gzip.open(archive) as packed, (into / archive.stem).open("wb") as file:
        shutil.copyfileobj(packed, file)


def _download(target: Path, checksum: str, addresses: Sequence[str], wanted: Path) -> Path:
    """Download `target` from the first address that has it; `wanted` is its name in messages."""
    from torchvision.datasets.utils import download_url

    reasons = []
    for address in addresses:
        try:
            with _socket_timeout(TIMEOUT_SECONDS):
                download_url(address, str(target.parent), target.name)
            if matches(target, checksum):
                return target
            target.unlink()
            reasons.append(f"{_folder(address)} (the file there has another checksum)")
        except (RuntimeError, OSError, EOFError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise
            reasons.append(f"{_folder(address)} ({_reason(error)})")
    problem = (
        f"{wanted} fails its checksum and no address has a good copy"
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


def _folder(address: str) -> str:
    return address[: address.rindex("/") + 1]


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in {TIMEOUT_SECONDS:g} s"
    return str(getattr(error, "reason", error)).splitlines()[0]
