"""A line for each job that ends, while the jobs of a sweep run in other processes."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from vae_lightning.cli.job_state import error_of, result
from vae_lightning.cli.sweep import Sweep
from vae_lightning.utils.progress import duration, on_terminal, progress

_SECONDS_BETWEEN_LOOKS = 0.5
# What a job is judged by: the first that it has.
_SCORES = {"val/best_elbo": "val/elbo", "test/elbo": "test/elbo", "train/elbo": "train/elbo"}


@contextmanager
def watched(sweep: Sweep, numbers: Sequence[int]) -> Iterator[None]:
    """Print a line for each job that ends, as its files show it, and on a terminal a bar.

    Args:
        sweep: whose jobs run in other processes.
        numbers: of the jobs that run.
    """
    print(_first_line(sweep, len(numbers)), flush=True)
    with ExitStack() as stack:
        bar = progress("jobs", len(numbers)) if on_terminal() else None
        advance = stack.enter_context(bar) if bar else lambda count: None
        watch = _Watch(sweep, numbers, advance)
        thread = threading.Thread(target=watch.run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            watch.stopped.set()
            thread.join()
            watch.look()


class _Watch:
    def __init__(
        self, sweep: Sweep, numbers: Sequence[int], advance: Callable[[int], None]
    ) -> None:
        self._sweep = sweep
        self._running = list(numbers)
        self._number = len(numbers)
        self._advance = advance
        self._started = time.perf_counter()
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(_SECONDS_BETWEEN_LOOKS):
            self.look()

    def look(self) -> None:
        """Print the lines of the jobs that have ended since the last look."""
        for number in list(self._running):
            job = self._sweep.jobs[number]
            failure = error_of(job.folder)
            if not job.finished and failure is None:
                continue
            self._running.remove(number)
            parts = [self._sweep.describe(number)]
            if failure is not None:
                parts.append(f"failed: {failure}")
            else:
                metrics = result(job.folder)
                tag = next((tag for tag in _SCORES if tag in metrics), None)
                parts += [f"{_SCORES[tag]} {metrics[tag]:.2f}"] if tag else []
                parts += [duration(metrics["seconds"])] if "seconds" in metrics else []
            if self._running:
                done = self._number - len(self._running)
                each = (time.perf_counter() - self._started) / done
                parts.append(f"{duration(each * len(self._running))} left")
            print(" · ".join(parts), flush=True)
            self._advance(1)


def _first_line(sweep: Sweep, count: int) -> str:
    share = sweep.share
    parts = [f"{count} job{'s' if count > 1 else ''}"]
    if share.jobs_at_once:
        parts.append(f"{share.jobs_at_once} at a time")
    if share.threads:
        parts.append(f"{share.threads} thread{'s' if share.threads > 1 else ''} each")
    return f"{', '.join(parts)}; the output of each is in {sweep.command}.log in its folder"
