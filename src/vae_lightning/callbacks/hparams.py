"""TensorBoard's page HPARAMS."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger

from vae_lightning.callbacks.tensorboard import group_of
from vae_lightning.config.hyperparameters import hyperparameters, identity, short_name

# Scalars of a run that are the metrics of its row.
METRICS = ("val/elbo", "test/elbo", "test/nll")
# Columns that TensorBoard shows before any is ticked.
_TICKED = 5


def write_hparams(
    logger: TensorBoardLogger,
    config: dict[str, Any],
    chosen: Mapping[str, Any],
    swept: Mapping[str, Any],
) -> None:
    """Write the row of a run, and the columns; `hparams.yaml` has all hyperparameters.

    TensorBoard shows five hyperparameters at first: those that are marked to differ, then others by
    name. It takes the columns from the first run that it finds, so these are the same for all runs,
    except for further keys of a sweep. The row is named by what was chosen for the run, and by its
    folder, because TensorBoard would average runs of the same name. `test/nll` is written by an
    evaluation.

    Args:
        logger: of the run.
        config: of the run, resolved.
        chosen: the keys that were set for the run, with their values.
        swept: the keys that the sweep of the run varies, with the run's values.
    """
    # `log_hyperparams` with metrics would log these again, as further points of their curves.
    logger.log_hyperparams(hyperparameters(config))
    from tensorboard.plugins.hparams.api_pb2 import Experiment, HParamInfo, MetricInfo, MetricName
    from tensorboard.plugins.hparams.metadata import PLUGIN_DATA_VERSION
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
    from torch.utils.tensorboard.summary import hparams

    row = identity(config, swept, _TICKED)
    columns = [
        HParamInfo(name=key, type=kind, differs=key in row.first)
        for keys, kind in ((row.numbers, "DATA_TYPE_FLOAT64"), (row.names, "DATA_TYPE_STRING"))
        for key in keys
    ]
    metrics = [
        MetricInfo(name=MetricName(tag=tag, group=group_of(tag)), display_name=tag)
        for tag in METRICS
    ]
    experiment = Experiment(hparam_infos=columns, metric_infos=metrics)
    summaries = hparams(row.values, dict.fromkeys(METRICS, 0.0))
    summaries[0].value[0].metadata.plugin_data.content = HParamsPluginData(
        experiment=experiment, version=PLUGIN_DATA_VERSION
    ).SerializeToString()
    start = HParamsPluginData.FromString(summaries[1].value[0].metadata.plugin_data.content)
    start.session_start_info.group_name = _row_name(config["paths"], swept or chosen)
    summaries[1].value[0].metadata.plugin_data.content = start.SerializeToString()
    writer = logger.experiment._get_file_writer()
    for summary in summaries:
        writer.add_summary(summary)


def _row_name(paths: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    """The settings of a run, such as `latent_dim=2 seed=0`, and its folder."""
    folder, outputs = Path(paths["run_dir"]).absolute(), Path(paths["output_dir"]).absolute()
    place = folder.relative_to(outputs) if folder.is_relative_to(outputs) else folder
    name = short_name(settings)
    return f"{name} ({place.as_posix()})" if name else place.as_posix()
