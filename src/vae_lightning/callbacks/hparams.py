"""TensorBoard's page HPARAMS."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger

from vae_lightning.config.hyperparameters import hyperparameters, identity

# Scalars of a run that are the metrics of its row.
METRICS = ("val/elbo", "test/elbo")
# Columns that TensorBoard shows before any is ticked.
_TICKED = 5


def write_hparams(
    logger: TensorBoardLogger, config: dict[str, Any], swept: Mapping[str, Any]
) -> None:
    """Write the row of a run, and the columns; `hparams.yaml` has all hyperparameters.

    TensorBoard shows five hyperparameters at first: those that are marked to differ, then others by
    name. It takes the columns from the first run that it finds, so these are the same for all runs,
    except for further keys of a sweep.

    Args:
        logger: of the run.
        config: of the run, resolved.
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
    metrics = [MetricInfo(name=MetricName(tag=tag)) for tag in METRICS]
    experiment = Experiment(hparam_infos=columns, metric_infos=metrics)
    summaries = hparams(row.values, dict.fromkeys(METRICS, 0.0))
    summaries[0].value[0].metadata.plugin_data.content = HParamsPluginData(
        experiment=experiment, version=PLUGIN_DATA_VERSION
    ).SerializeToString()
    writer = logger.experiment._get_file_writer()
    for summary in summaries:
        writer.add_summary(summary)
