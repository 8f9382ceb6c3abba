"""Metrics in a CSV file."""

import csv
import warnings
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger


class MetricsFile(CSVLogger):
    """Lightning's logger, which adds to the `metrics.csv` of a run that goes on in its folder.

    Lightning's own deletes the file. The arguments are the same.
    """

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer of the file."""
        if self._experiment is not None:
            return self._experiment
        file = Path(self.log_dir) / "metrics.csv"
        earlier = file.read_text(encoding="utf-8") if file.is_file() else ""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*exists and is not empty.*")
            writer: Any = super().experiment
        if earlier:
            file.write_text(earlier, encoding="utf-8")
            writer.metrics_keys = next(csv.reader(earlier.splitlines()[:1]))
        return writer
