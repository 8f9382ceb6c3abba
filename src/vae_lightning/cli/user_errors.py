"""Errors that a user can fix, printed in one line."""

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from vae_lightning.cli.log import wrapped
from vae_lightning.cli.run_folder import folder_key
from vae_lightning.errors import UserError

# A full or read-only disk. Any other OSError is a bug in the program.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


def show(error: UserError) -> None:
    """Print an error in one line; with `HYDRA_FULL_ERROR=1`, its traceback.

    A terminal that is narrower than the line has it wrapped between words.
    """
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        import traceback

        traceback.print_exception(error)
    else:
        line = f"error: {error}"
        if sys.stderr.isatty():
            line = wrapped(line, shutil.get_terminal_size().columns)
        print(line, file=sys.stderr)


def translated(config: Any, job: Callable[[], float | None]) -> float | None:
    """Run a job; what the machine lacks is an error that the user can fix, and Ctrl-C an interrupt.

    Args:
        config: of the job, composed.
        job: to be run.

    Raises:
        UserError: the disk is full, or memory is.
    """
    try:
        return job()
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise disk_error(error, config) from error
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        reason = str(error).strip().splitlines()
        raise UserError(
            f"out of memory{f' ({reason[0]})' if reason else ''}: choose a smaller "
            "data.batch_size, or a smaller model"
        ) from error
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # Lightning's reaction to Ctrl-C
            raise type(end.__context__)() from None
        raise


def _out_of_memory(error: Exception) -> bool:
    # torch.OutOfMemoryError is a RuntimeError; on the CPU, torch raises that one itself.
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "not enough memory" in str(error)
        or "can't allocate memory" in str(error)
    )


def disk_error(error: OSError, config: Any) -> UserError:
    """The error for a disk that cannot be written, with what to do."""
    folder = str(config.paths.run_dir)
    # When copying, `filename2` is the target. When writing, there is no name, and Lightning writes
    # a checkpoint to the temporary folder first.
    file = error.filename2 or error.filename or f"{folder} or {tempfile.gettempdir()}"
    shown = UserError(
        f"{file} cannot be written: {error.strerror}: free some space, or set "
        f"{folder_key(config)} to another disk; {folder} keeps what was saved"
    )
    shown.__cause__ = error
    return shown
