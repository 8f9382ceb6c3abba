"""The profiler for runs that are not profiled."""

from contextlib import AbstractContextManager, nullcontext

from lightning.pytorch.profilers import Profiler

_NOTHING = nullcontext()


class NoProfiler(Profiler):
    """Does nothing, at a tenth of the cost of Lightning's own way of doing nothing.

    Lightning asks for a context around each hook of each callback, some sixty times per step.
    """

    def start(self, action_name: str) -> None:
        pass

    def stop(self, action_name: str) -> None:
        pass

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        return _NOTHING
