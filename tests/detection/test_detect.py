"""`python -m vae_lightning.detect`: inputs, decisions, files, refusals."""

import csv
import json
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from conftest import MINIMAL, CallCommand, Outcome, read_metrics, write_fake_mnist
from vae_lightning import load
from vae_lightning.checkpoint import Checkpoint
from vae_lightning.config import compose, to_container
from vae_lightning.data import image_reader
from vae_lightning.data.image_files import read_image
from vae_lightning.data.sources import Digits
from vae_lightning.detection import pictures, report
from vae_lightning.detection.pictures import curves
from vae_lightning.detection.results import DetectionResult, score_images, summary
from vae_lightning.detection.run import Detection, prepare
from vae_lightning.detection.scores import UNITS, Mahalanobis
from vae_lightning.errors import CheckpointError, ConfigError, DataError
from vae_lightning.evaluation.run import evaluate
from vae_lightning.evaluation.run import prepare as prepare_evaluation
from vae_lightning.train import main as train_main
from vae_lightning.utils.pixels import to_float

Call = Callable[..., Outcome]
QUICK = "detect.num_samples=5"
BROKEN = "19.png"


def train(cwd: Path, *overrides: str) -> Path:
    """A run of one epoch, trained in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        options = ("trainer=cpu", "trainer.max_epochs=1", *MINIMAL, "hydra.run.dir=run")
        patch.setattr(sys, "argv", ["train", *overrides, *options])
        train_main()
    return cwd / "run"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on small digits without zeros."""
    options = ("experiment=held_out_digit", "data=digits", "data.size=8", "data.held_out=[0]")
    return train(tmp_path_factory.mktemp("digits"), *options)


@pytest.fixture(scope="module")
def folder_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on a folder of grey digits without classes, in which one file is broken."""
    cwd = tmp_path_factory.mktemp("folder")
    (cwd / "mine").mkdir()
    images, _ = Digits().load(Path(), train=True)
    for index, image in enumerate(images[:60]):
        Image.fromarray(image[0].numpy()).save(cwd / "mine" / f"{index:02d}.png")
    # The test split, drawn with a fixed seed, has 6 of the 60 files, this one among them.
    (cwd / "mine" / BROKEN).write_bytes(b"no image")
    options = ("data=image_folder", f"data.root={cwd / 'mine'}", "data.size=8", "data.channels=1")
    return train(cwd, *options)


@pytest.fixture
def call(call_command: CallCommand) -> Call:
    return partial(call_command, command="detect")


def prepared(*overrides: str) -> Detection:
    return prepare(to_container(compose("detect", [*overrides, "paths.run_dir=out"])))


def scored(*overrides: str) -> DetectionResult:
    (one,) = prepared(QUICK, *overrides).runs
    return score_images(one.workspace, one.source)


def changed(run: Path, folder: Path, config: dict[str, Any], noise_seed: int | None = None) -> Path:
    """A copy of a run with other settings, and with noise added to its weights."""
    content = Checkpoint(run).content
    for key, value in config.items():
        node = content["config"]
        *groups, leaf = key.split(".")
        for group in groups:
            node = node[group]
        node[leaf] = value
    if noise_seed is not None:
        generator = torch.Generator().manual_seed(noise_seed)
        for value in content["state_dict"].values():
            value += 0.05 * torch.randn(value.shape, generator=generator)
    (folder / "checkpoints").mkdir(parents=True)
    torch.save(content, folder / "checkpoints" / "best.ckpt")
    (folder / "metrics.json").write_text("{}")
    return folder


def csv_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def facts(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "detect.json").read_text())


def noise_among_digits(run: Path) -> Tensor:
    """Two digits of the training split, and one image of noise between them."""
    images, labels = Digits().load(Path(), train=True)
    noise = torch.randint(0, 256, (1, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    assert load(run).image_shape == (1, 8, 8)
    return torch.cat([images[labels == 3][:1], noise.to(torch.uint8), images[labels == 4][:1]])


# -- the test split -------------------------------------------------------------------------------


def test_a_held_out_digit_is_ranked_decided_and_drawn(call: Call, run: Path) -> None:
    options = (f"ckpt_path={run}", QUICK, f"detect.score=[{','.join(UNITS)}]")
    outcome = call(*options, "output_dir=out")
    assert outcome.status == 0, outcome.err
    rows, found = csv_rows(Path("out")), facts(Path("out"))
    assert [int(row["rank"]) for row in rows] == list(range(1, 361))
    scores = [float(row["reconstruction_probability"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    first = found["scores"]["reconstruction_probability"]
    for row, score in zip(rows, scores, strict=True):
        if abs(score - first["threshold"]) > 1e-3:  # scores are rounded to six digits
            assert row["decision"] == ("anomaly" if score > first["threshold"] else "normal")
        assert row["label"] == ("anomaly" if row["class"] == "0" else "normal")
    # An image is named by its index in the whole test split.
    labels = Digits().load(Path(), train=False)[1].tolist()
    named = {int(row["name"].removeprefix("digits/")): row["class"] for row in rows}
    assert named == {index: str(label) for index, label in enumerate(labels)}

    is_anomaly = np.array([row["label"] == "anomaly" for row in rows])
    assert found["base_rate"] == pytest.approx(is_anomaly.mean())
    assert found["positive_class"] == "anomaly"
    for name, kept in found["scores"].items():
        values = np.array([float(row[name]) for row in rows])
        high, low = values[is_anomaly][:, None], values[~is_anomaly]
        pairs = (high > low) + 0.5 * (high == low)
        assert kept["auroc"] == pytest.approx(pairs.mean(), abs=1e-3)
        # 6 of 137 is the largest number of images that is at most 5 %.
        assert kept["false_positive_rate_validation"] == pytest.approx(6 / 137)
        assert kept["unit"] == UNITS[name]
    assert (found["protocol"]["num_samples"], found["protocol"]["held_out"]) == (5, [0])
    for picture in ("extremes", "histogram", "curves"):
        assert (Path("out") / f"{picture}.png").stat().st_size > 1000
        assert f"{picture}.png" in outcome.out
    assert "AUROC" in outcome.out
    assert "35 of 360" in outcome.out

    again = scored(*options)
    assert json.loads(json.dumps(summary(again))) == found
    assert [again.inputs.names[index] for index in again.scores[0].ranking] == [
        row["name"] for row in rows
    ]


def test_nll_is_that_of_an_evaluation(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = [f"ckpt_path={run}", "num_samples=5", "parts=[likelihood]", "device=cpu"]
    config = to_container(compose("evaluate", [*options, f"paths.run_dir={tmp_path / 'found'}"]))
    evaluate(prepare_evaluation(config))
    result = scored(f"ckpt_path={run}", "detect.score=nll")
    assert result.inputs.is_anomaly is not None
    normal = result.scores[0].values[~result.inputs.is_anomaly]
    expected = read_metrics(tmp_path / "found")["test/nll"]
    assert normal.mean().item() == pytest.approx(expected, rel=1e-5)


def test_the_latent_score_is_the_distance_from_the_training_images(run: Path) -> None:
    result = scored(f"ckpt_path={run}", "detect.score=latent")
    checkpoint = Checkpoint(run)
    model, data = checkpoint.model(), checkpoint.data()
    data.setup("test")
    training, _ = data.evaluated("train")
    distance = Mahalanobis(model.latent_means(to_float(training)))
    expected = distance(model.latent_means(to_float(result.inputs.images)))
    assert result.scores[0].values.tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_a_test_split_without_anomalies_is_scored_without_metrics_and_curves(
    run: Path, tmp_path: Path
) -> None:
    folder = changed(run, tmp_path / "plain", {"data.held_out": []})
    result = scored(f"ckpt_path={folder}")
    assert result.inputs.is_anomaly is not None
    assert not result.inputs.is_anomaly.any()
    assert result.scores[0].metrics is None
    assert curves(result) is None


def test_images_of_a_folder_are_named_by_their_files_and_read_once(
    folder_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []

    def counted_read(path: Path, channels: int) -> Tensor:
        reads.append(path.name)
        return read_image(path, channels)

    monkeypatch.setattr(image_reader, "read_image", counted_read)
    result = scored(f"ckpt_path={folder_run}", "detect.false_positive_rate=0.2")
    assert sorted(reads) == [f"{index:02d}.png" for index in range(60)]
    inputs = result.inputs
    assert len(set(inputs.names)) == len(inputs.images) == 5
    assert BROKEN not in inputs.names
    for name, image in zip(inputs.names, inputs.images, strict=True):
        assert torch.equal(image, read_image(folder_run.parent / "mine" / name, 1))
    assert inputs.class_names is None
    # The same names are in the figure and in the printed line.
    monkeypatch.setattr(pictures, "to_image", lambda figure: figure)
    drawn: Any = pictures.extremes(result)
    captions = {axes.get_xlabel().split("\n")[1] for axes in drawn.axes}
    assert captions < set(inputs.names)
    assert inputs.names[int(result.scores[0].ranking[0])] in captions


# -- other images ---------------------------------------------------------------------------------


def test_noise_among_digits_of_an_npz_is_found(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("own.npz", images=noise_among_digits(run).numpy(), labels=np.array([0, 1, 0]))
    result = scored(f"ckpt_path={run}", "input=own.npz")
    (score,) = result.scores
    assert result.inputs.names[score.ranking.tolist()[0]] == "1"
    assert score.decisions[1]
    assert result.inputs.is_anomaly is not None
    assert result.inputs.is_anomaly.tolist() == [False, True, False]
    assert score.metrics is not None
    assert score.metrics.auroc == 1.0


def test_a_folder_without_labels_is_ranked_without_curves_and_without_broken_files(
    call: Call, run: Path
) -> None:
    (Path("own") / "deep").mkdir(parents=True)
    for name, image in zip(("a", "deep/noise", "b"), noise_among_digits(run), strict=True):
        Image.fromarray(image[0].numpy()).save(f"own/{name}.png")
    Path("own/broken.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match="left out: own/broken.png is not an image"):
        outcome = call(f"ckpt_path={run}", QUICK, "input=own", "output_dir=out")
    assert outcome.status == 0, outcome.err
    rows = csv_rows(Path("out"))
    assert rows[0]["name"] == "deep/noise.png"
    assert sorted(row["name"] for row in rows) == ["a.png", "b.png", "deep/noise.png"]
    assert not {"label", "class"} & rows[0].keys()
    assert not Path("out/curves.png").exists()
    assert Path("out/extremes.png").exists()
    assert "auroc" not in facts(Path("out"))["scores"]["reconstruction_probability"]
    assert "AUROC" not in outcome.out


def test_test_images_of_another_data_set_are_the_anomalies(run: Path, tmp_path: Path) -> None:
    write_fake_mnist(tmp_path)
    result = scored(f"ckpt_path={run}", "against=mnist", f"data.root={tmp_path}")
    inputs = result.inputs
    assert list(inputs.names[-3:]) == ["mnist/0", "mnist/1", "mnist/2"]
    assert inputs.is_anomaly is not None
    assert inputs.is_anomaly.nonzero().flatten().tolist() == [325, 326, 327]
    # Nearly white squares are nothing like a digit.
    assert sorted(result.scores[0].ranking[:3].tolist()) == [325, 326, 327]


def test_another_data_set_is_not_looked_for_in_a_folder_of_images(
    folder_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cwd = folder_run.parent
    monkeypatch.chdir(cwd)
    monkeypatch.setenv("VAE_LIGHTNING_DATA", str(cwd / "downloads"))
    write_fake_mnist(cwd / "downloads")
    options = (f"ckpt_path={folder_run}", "detect.false_positive_rate=0.2")
    inputs = scored(*options, "against=mnist").inputs
    assert inputs.class_names == ["image_folder"] * 5 + ["0", "1", "2"]
    assert all(path.suffix == ".png" for path in (cwd / "mine").iterdir())
    with pytest.raises(ConfigError, match="set input to a folder of images"):
        prepared(*options, "against=image_folder")


# -- the jobs of a multirun -----------------------------------------------------------------------


def test_the_finished_jobs_of_a_multirun_become_a_table_over_classes_and_seeds(
    call: Call, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The figures of a job are those of any run, and take most of the time.
    for name in ("extremes", "histogram", "curves"):
        monkeypatch.setattr(report, name, lambda result: None)
    jobs = [([0], 0, None), ([0], 1, 1), ([1], 0, 2), ([1], 1, 3)]
    for number, (held_out, seed, noise_seed) in enumerate(jobs):
        config = {"data.held_out": held_out, "seed": seed}
        changed(run, tmp_path / "sweep" / f"{number}_digits", config, noise_seed)
    (tmp_path / "sweep" / "3_digits" / "metrics.json").unlink()
    shutil.copytree(run / ".hydra", tmp_path / "sweep" / "3_digits" / ".hydra")
    score = "detect.score=[reconstruction_probability,reconstruction]"
    outcome = call("ckpt_path=sweep", "detect.num_samples=2", score, "output_dir=out")
    assert outcome.status == 0, outcome.err
    assert "warning: left out because they have not finished: 3_digits" in outcome.err
    rows = json.loads(Path("out/table.json").read_text())["rows"]
    assert [(row["anomaly"], row["score"], row["seeds"]) for row in rows] == [
        (anomaly, name, seeds)
        for name in ("reconstruction_probability", "reconstruction")
        for anomaly, seeds in (("0", [0, 1]), ("1", [0]))
    ]
    for area in ("auroc", "auprc"):
        single = [
            facts(Path("out") / job)["scores"]["reconstruction"][area]
            for job in ("0_digits", "1_digits", "2_digits")
        ]
        assert len(set(single)) == 3
        assert rows[2][area]["runs"] + rows[3][area]["runs"] == single
    lines = Path("out/table.md").read_text().splitlines()
    assert lines[2] == "| anomaly | share | seeds | reconstruction probability | reconstruction |"
    assert "3 of 3" in outcome.out
    assert "AUPRC of random scores" in outcome.out


def test_runs_that_do_not_belong_in_one_table_are_refused(run: Path, tmp_path: Path) -> None:
    changed(run, tmp_path / "sweep" / "0_digits", {})
    changed(run, tmp_path / "sweep" / "1_digits", {"data.batch_size": 64})
    with pytest.raises(ConfigError, match=r"data\.batch_size=64"):
        prepared(f"ckpt_path={tmp_path / 'sweep'}")
    changed(run, tmp_path / "plain" / "0_digits", {"data.held_out": []})
    with pytest.raises(ConfigError, match="held no class out"):
        prepared(f"ckpt_path={tmp_path / 'plain'}")


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["ckpt_path=null"], "ckpt_path is missing"),
        (["ckpt_path=nowhere"], "nowhere does not exist"),
        (["detect=null"], "detect=None should be a section: its keys are set as in detect.score="),
        (["detect=foo"], "detect=foo should be a section"),
        (["+sede=1"], "sede is not a key of the configuration: did you mean seed?"),
        (["detect.score=elbow"], "detect.score=elbow is not a score: did you mean elbo?"),
        (["detect.score=[]"], "detect.score is empty"),
        (["detect.score=[nll,nll]"], "names a score twice"),
        (["detect.num_samples=0"], "detect.num_samples=0 is out of range"),
        (["detect.false_positive_rate=0"], "detect.false_positive_rate=0 is out of range"),
        (["detect.false_positive_rate=1.0"], "detect.false_positive_rate=1.0 is out of range"),
        (["detect.false_positive_rate=0.005"], "137 validation images resolve no rate below"),
        (["+detect.rate=0.1"], "detect.rate is not an option"),
        (["input=nothing"], "nothing does not exist"),
        (["input=empty"], "empty holds no image"),
        (["input=broken"], "broken/a.png is not an image that can be read"),
        (["input=bare.npz"], "bare.npz holds no array named images"),
        (["input=classes.npz"], "classes.npz holds labels other than 0 (normal) and 1 (anomaly)"),
        (["input=large.png"], "set fit=true"),
        (["input=large.png", "against=mnist"], "input and against are both set"),
        (["against=fashion"], "against=fashion does not exist: did you mean fashion_mnist?"),
        (["against=digits"], "against=digits is the data set of training"),
        (["seed=-1"], "seed=-1 is out of range"),
        (["device=gup"], "device=gup is no device"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_in_one_line(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("broken").mkdir()
    Path("broken/a.png").write_bytes(b"no image")
    np.savez("bare.npz", pictures=np.zeros(3))
    images = np.zeros((2, 1, 8, 8), dtype=np.uint8)
    np.savez("classes.npz", images=images, labels=np.array([0, 7]))
    Image.new("L", (9, 9)).save("large.png")
    with pytest.raises((ConfigError, CheckpointError, DataError)) as error:
        prepared(f"ckpt_path={run}", *args)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("override", "message"),
    [("detect.rate=0.1", "rate is not a key of detect"), ("~input", "input cannot be left out")],
)
def test_a_refused_command_exits_with_one_line_and_writes_nothing(
    call: Call, run: Path, override: str, message: str
) -> None:
    outcome = call(f"ckpt_path={run}", override)
    assert outcome.status == 1
    assert outcome.err.startswith("error: ")
    assert message in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not list(Path().iterdir())
    assert not (run / "detect").exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("data.val_size", 0, r"train with data\.val_size above 0"),
        ("data.validation", "test", "validates on the test split"),
    ],
)
def test_a_run_without_images_to_calibrate_the_threshold_on_is_refused(
    run: Path, tmp_path: Path, key: str, value: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        prepared(f"ckpt_path={changed(run, tmp_path / 'other', {key: value})}")
