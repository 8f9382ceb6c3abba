"""Training curves from the files of the loggers."""

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from vae_lightning.summarizing.curves import curve


def write_events(run: Path, steps: list[int]) -> Path:
    writer = SummaryWriter(str(run / "tensorboard"))
    for step in steps:
        writer.add_scalar("train/elbo", -1.0, step)
        writer.add_text("long", "val/elbo " * 1000, step)
        writer.add_scalar("val/elbo", -100 / step, step)
    writer.close()
    (file,) = (run / "tensorboard").iterdir()
    return file


def test_a_resumed_run_starts_at_a_later_epoch(tmp_path: Path) -> None:
    write_events(tmp_path, [33, 44, 55])
    assert [epoch for epoch, _ in curve(tmp_path, "val/elbo")] == [3, 4, 5]


def test_a_file_that_is_being_written_gives_the_points_so_far(tmp_path: Path) -> None:
    file = write_events(tmp_path, [10, 20])
    file.write_bytes(file.read_bytes()[:-20])
    assert curve(tmp_path, "val/elbo") == [(1, -10.0)]


def test_a_curve_is_read_from_csv_as_well(tmp_path: Path) -> None:
    (tmp_path / "csv").mkdir()
    text = "epoch,step,train/elbo,val/elbo\n0,9,-5.0,\n0,9,,-4.0\n1,19,,-3.0\n"
    (tmp_path / "csv" / "metrics.csv").write_text(text)
    assert curve(tmp_path, "val/elbo") == [(1, -4.0), (2, -3.0)]


def test_without_a_logger_there_is_no_curve(tmp_path: Path) -> None:
    assert curve(tmp_path, "val/elbo") == []
