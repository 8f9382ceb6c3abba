"""Whether two folders hold the same files."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# Images of one size may all have files of one size, so the content of some files counts too.
_NUM_READ = 16
_BYTES_READ = 2**16


def fingerprint(root: Path, names: Iterable[str]) -> dict[str, Any]:
    """The number of some files, their bytes, and a checksum.

    The checksum is of all names and sizes, and of the first bytes of a few files that are spread
    evenly over the sorted names. It is equal for copies of a folder, wherever they are, and for a
    single file whatever its name.

    Args:
        root: the folder.
        names: of the files, relative to the root; a missing one counts as 0 bytes.
    """
    sizes = {Path(name).as_posix(): _size(root / name) for name in names}
    digest = hashlib.sha256()
    ordered = sorted(sizes)
    for name in ordered:
        named = name if len(ordered) > 1 else ""
        digest.update(f"{named}\0{sizes[name]}\n".encode(errors="surrogateescape"))
    for name in ordered[:: -(-len(ordered) // _NUM_READ) or 1]:
        digest.update(_start(root / name))
    return {
        "files": len(sizes),
        "bytes": sum(sizes.values()),
        "checksum": digest.hexdigest(),
    }


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _start(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(_BYTES_READ)
    except OSError:
        return b""
