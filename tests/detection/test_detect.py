"""`python -m vae_lightning.detect`: scores, thresholds, decisions, tables."""

import csv
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from conftest import CallCommand, Outcome, run_python, write_fake_mnist
from linear_gaussian import SCALE, linear_gaussian
from tiny import TinySource, composed_model, head, tiny_data, tiny_vae
from vae_lightning import load
from vae_lightning.data import binarization
from vae_lightning.data.sources import Digits
from vae_lightning.detection.decisions import detection_metrics, threshold_at
from vae_lightning.detection.scores import UNITS, Mahalanobis, Scorer, check_scores
from vae_lightning.detection.sweep import TableRow, print_table, rows_summary, table_cells

Call = Callable[..., Outcome]
QUICK = "detect.num_samples=5"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A multirun over two held-out digits and two seeds: small images, one epoch."""
    cwd = tmp_path_factory.mktemp("sweep")
    process = run_python(
        "-m", "vae_lightning.train", "-m", "experiment=held_out_digit", "data=digits",
        "trainer=cpu", "trainer.max_epochs=1", "data.size=8", "callbacks=minimal", "logger=none",
        "data.held_out=[0],[1]", "seed=0,1", cwd=cwd,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    (folder,) = (cwd / "outputs" / "held_out_digit" / "multiruns").iterdir()
    return folder


@pytest.fixture
def run(sweep: Path) -> Path:
    """Trained without zeros, with seed 0."""
    return sweep / "0_digits"


@pytest.fixture
def call(call_command: CallCommand) -> Call:
    return partial(call_command, command="detect")


def listed(folder: Path) -> list[dict[str, str]]:
    with (folder / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def facts(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "detect.json").read_text())


def numbers(rows: list[dict[str, str]], column: str) -> list[float]:
    return [float(row[column]) for row in rows]


def test_a_threshold_lets_its_share_of_the_validation_images_through() -> None:
    scores = torch.randperm(1000, generator=torch.Generator().manual_seed(0)).double()
    for rate in (0.05, 0.001, 0.29, 0.999):
        assert int((scores > threshold_at(rate, scores)).sum()) == round(rate * 1000)
    # The fifth part of 7 images is one image and a half: no more than were asked for.
    assert int((scores[:7] > threshold_at(0.2, scores[:7])).sum()) == 1


def test_images_that_score_the_same_are_not_let_through_together() -> None:
    scores = torch.tensor([1.0, 2.0, 2.0, 2.0])
    assert threshold_at(0.5, scores) == 2.0


def test_areas_of_perfect_and_of_reversed_scores_are_one_and_nought() -> None:
    anomaly = torch.tensor([False] * 8 + [True] * 2)
    perfect = detection_metrics(torch.arange(10).double(), anomaly, threshold=6.5)
    assert (perfect.auroc, perfect.auprc) == (1.0, 1.0)
    assert (perfect.false_positive_rate, perfect.true_positive_rate) == (1 / 8, 1.0)
    assert perfect.precision == pytest.approx(2 / 3)
    wrong = detection_metrics(-torch.arange(10).double(), anomaly, threshold=1.0)
    assert wrong.auroc == 0.0
    # The anomalies come ninth and tenth: precisions 1/9 and 2/10 at recalls 1/2 and 1.
    assert wrong.auprc == pytest.approx((1 / 9 + 2 / 10) / 2)
    assert wrong.precision is None


def test_mahalanobis_distance_is_that_of_numpy() -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    others = torch.randn(50, 3, generator=generator, dtype=torch.float64) @ mixing + 5
    vectors = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    inverse = np.linalg.inv(np.cov(others.numpy().T))
    away = vectors.numpy() - others.numpy().mean(0)
    expected = [math.sqrt(row @ inverse @ row) for row in away]
    assert Mahalanobis(others)(vectors).tolist() == pytest.approx(expected)


def test_a_latent_that_never_varies_says_nothing() -> None:
    others = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    vectors = torch.tensor([[1.0, 2.0]])
    more = torch.cat([others, torch.full((50, 1), 3.0)], 1)
    found = Mahalanobis(more)(torch.cat([vectors, torch.tensor([[9.0]])], 1))
    assert found.item() == pytest.approx(Mahalanobis(others)(vectors).item())


def test_scores_of_a_linear_model_are_what_can_be_computed_by_hand() -> None:
    model = linear_gaussian((1, 2, 2))
    images = torch.randint(0, 256, (2, 1, 2, 2), generator=torch.Generator().manual_seed(0))
    images = images.to(torch.uint8)
    names = ["reconstruction_probability", "elbo", "reconstruction"]
    found = Scorer(model, names, num_samples=20_000, seed=0)(images, "")
    x = images.flatten(1).double() / 255
    weight, bias = head(model.likelihood).weight, head(model.likelihood).bias
    posterior = model.encode(images.double() / 255)
    error = (x - posterior.mean @ weight.T - bias).square().sum(1)
    spread = (posterior.variance * weight.square().sum(0)).sum(1)
    constant = 4 / 2 * math.log(2 * math.pi * SCALE**2)
    expected = constant + (error + spread) / (2 * SCALE**2)
    rate = (posterior.variance + posterior.mean**2 - 1 - posterior.variance.log()).sum(1) / 2
    assert found["reconstruction"].tolist() == pytest.approx(error.tolist())
    # A standard deviation of about 1 nat over the square root of 20,000.
    drawn = found["reconstruction_probability"]
    assert drawn.tolist() == pytest.approx(expected.tolist(), abs=0.05)
    assert (found["elbo"] - drawn).tolist() == pytest.approx(rate.tolist())


def test_a_score_does_not_depend_on_the_images_that_follow() -> None:
    images, _ = TinySource().load(Path(), train=True)
    scorer = Scorer(tiny_vae(), list(UNITS), 4, seed=1, training_images=images)
    everything, few = scorer(images, ""), scorer(images[:7], "")
    for name in UNITS:
        assert torch.allclose(everything[name][:7], few[name], rtol=1e-5)
    other = Scorer(tiny_vae(), ["elbo"], 4, seed=2)(images, "")
    assert not torch.allclose(everything["elbo"], other["elbo"], rtol=1e-5)


@pytest.mark.parametrize(
    ("override", "name", "said"),
    [
        ("model=conditional", "latent", "the model is conditional"),
        ("model/posterior=deterministic", "nll", "nll needs a posterior with a density"),
        ("model/posterior=deterministic", "elbo", "elbo needs a posterior with a density"),
    ],
)
def test_a_score_that_a_model_does_not_have_is_refused(override: str, name: str, said: str) -> None:
    model = composed_model("data=digits", override)
    with pytest.raises(ValueError, match=said):
        check_scores([name], model)


def test_an_autoencoder_without_noise_has_the_other_scores() -> None:
    model = composed_model("data=digits", "model/posterior=deterministic")
    check_scores(["reconstruction_probability", "reconstruction", "latent"], model)


@pytest.mark.parametrize("binarize", ["none", "threshold", "fixed", "dynamic"])
def test_images_from_elsewhere_are_binarised_as_the_test_split_is(binarize: str) -> None:
    data = tiny_data(binarize=binarize)
    grey = torch.randint(0, 256, (5, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    images = grey.to(torch.uint8)
    drawn = data.protocol.as_evaluated(images)
    if binarize == "none":
        assert drawn.equal(images)
    elif binarize == "threshold":
        assert drawn.equal(binarization.threshold(images))
    else:
        assert set(drawn.unique().tolist()) == {0, 255}
        assert drawn.equal(data.protocol.as_evaluated(images))


def test_a_held_out_digit_is_ranked_decided_and_pictured(
    call: Call, run: Path, tmp_path: Path
) -> None:
    names = "reconstruction_probability,elbo,nll,reconstruction,latent"
    options = (f"ckpt_path={run}", QUICK, f"detect.score=[{names}]")
    outcome = call(*options, "output_dir=one")
    assert outcome.status == 0, outcome.err
    rows, found = listed(Path("one")), facts(Path("one"))
    assert [int(row["rank"]) for row in rows] == list(range(1, 361))
    scores = numbers(rows, "reconstruction_probability")
    assert scores == sorted(scores, reverse=True)
    first = found["scores"]["reconstruction_probability"]
    for row, score in zip(rows, scores, strict=True):
        # Six digits are written.
        if abs(score - first["threshold"]) > 1e-3:
            assert row["decision"] == ("anomaly" if score > first["threshold"] else "normal")
        assert row["label"] == ("anomaly" if row["class"] == "0" else "normal")
    # Names are places in the whole test split, whatever is held out.
    labels = Digits().load(Path(), train=False)[1].tolist()
    named = {int(row["name"].removeprefix("digits/")): row["class"] for row in rows}
    assert named == {place: str(label) for place, label in enumerate(labels)}

    zeros = sum(row["class"] == "0" for row in rows)
    assert found["base_rate"] == pytest.approx(zeros / 360)
    assert found["positive_class"] == "anomaly"
    for name, kept in found["scores"].items():
        anomaly = [row["label"] == "anomaly" for row in rows]
        values = numbers(rows, name)
        pairs = [
            (a > b) + 0.5 * (a == b)
            for a, is_anomaly in zip(values, anomaly, strict=True)
            for b, other in zip(values, anomaly, strict=True)
            if is_anomaly and not other
        ]
        assert kept["auroc"] == pytest.approx(sum(pairs) / len(pairs), abs=1e-3)
        # 6 of 137 are the most that are no more than 5 %.
        assert kept["false_positive_rate_validation"] == pytest.approx(6 / 137)
        assert kept["unit"] == UNITS[name]
    protocol = found["protocol"]
    assert (protocol["num_samples"], protocol["held_out"]) == (5, [0])
    for picture in ("extremes", "histogram", "curves"):
        assert (Path("one") / f"{picture}.png").stat().st_size > 1000
        assert f"{picture}.png" in outcome.out
    assert "AUROC" in outcome.out
    assert "35 of 360" in outcome.out

    again = call(*options, "output_dir=two")
    assert again.status == 0, again.err
    assert listed(Path("two")) == rows
    assert facts(Path("two")) == found


def test_nll_is_that_of_an_evaluation(call: Call, run: Path) -> None:
    assert call(
        f"ckpt_path={run}", QUICK, "detect.score=nll", "output_dir=out"
    ).status == 0  # fmt: skip
    outcome = call(
        f"ckpt_path={run}", "num_samples=5", "parts=[likelihood]",
        "device=cpu", "output_dir=measured", command="evaluate",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    expected = json.loads(Path("measured/metrics.json").read_text())["test/nll"]
    normal = [float(row["nll"]) for row in listed(Path("out")) if row["label"] == "normal"]
    assert sum(normal) / len(normal) == pytest.approx(expected, rel=1e-5)


def planted(run: Path) -> Tensor:
    """Two digits that were trained on, and one image of noise."""
    images, labels = Digits().load(Path(), train=True)
    noise = torch.randint(0, 256, (1, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    assert load(run).image_shape == (1, 8, 8)
    return torch.cat([images[labels == 3][:1], noise.to(torch.uint8), images[labels == 4][:1]])


def test_noise_among_digits_of_an_npz_is_found(call: Call, run: Path) -> None:
    np.savez("own.npz", images=planted(run).numpy(), labels=np.array([0, 1, 0]))
    outcome = call(f"ckpt_path={run}", QUICK, "input=own.npz", "output_dir=out")
    assert outcome.status == 0, outcome.err
    rows = listed(Path("out"))
    assert (rows[0]["name"], rows[0]["label"], rows[0]["decision"]) == ("1", "anomaly", "anomaly")
    assert facts(Path("out"))["scores"]["reconstruction_probability"]["auroc"] == 1.0


def test_a_folder_without_labels_is_ranked_and_has_no_curves(call: Call, run: Path) -> None:
    (Path("own") / "deep").mkdir(parents=True)
    for name, image in zip(("a", "deep/noise", "b"), planted(run), strict=True):
        Image.fromarray(image[0].numpy()).save(f"own/{name}.png")
    outcome = call(f"ckpt_path={run}", QUICK, "input=own", "output_dir=out")
    assert outcome.status == 0, outcome.err
    rows = listed(Path("out"))
    assert rows[0]["name"] == "deep/noise.png"
    assert "label" not in rows[0]
    assert not Path("out/curves.png").exists()
    assert Path("out/extremes.png").exists()
    assert "auroc" not in facts(Path("out"))["scores"]["reconstruction_probability"]
    assert "AUROC" not in outcome.out


def test_another_data_set_is_set_against_the_test_split(
    call: Call, run: Path, tmp_path: Path
) -> None:
    write_fake_mnist(tmp_path)
    outcome = call(
        f"ckpt_path={run}", QUICK, "against=mnist", f"data.root={tmp_path}", "output_dir=out"
    )
    assert outcome.status == 0, outcome.err
    rows = listed(Path("out"))
    anomalies = [row["name"] for row in rows if row["label"] == "anomaly"]
    assert sorted(anomalies) == ["mnist/0", "mnist/1", "mnist/2"]
    # Nearly white squares are nothing like a digit.
    assert [row["label"] for row in rows[:3]] == ["anomaly"] * 3


@pytest.fixture(scope="module")
def on_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on a flat folder of grey digits, which has no classes; beside the folder."""
    cwd = tmp_path_factory.mktemp("flat")
    (cwd / "mine").mkdir()
    images, _ = Digits().load(Path(), train=True)
    for place, image in enumerate(images[:60]):
        Image.fromarray(image[0].numpy()).save(cwd / "mine" / f"{place:02d}.png")
    process = run_python(
        "-m", "vae_lightning.train", "data=image_folder", "data.root=mine", "data.size=8",
        "data.channels=1", "trainer=cpu", "trainer.max_epochs=1", "callbacks=minimal",
        "logger=none", "hydra.run.dir=run", cwd=cwd,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return cwd


def test_the_test_split_of_a_folder_without_classes_is_ranked(
    call: Call, on_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(on_folder)
    outcome = call("ckpt_path=run", QUICK, "detect.false_positive_rate=0.2", "output_dir=alone")
    assert outcome.status == 0, outcome.err
    rows = listed(Path("alone"))
    assert len(rows) == 6
    assert "class" not in rows[0]


def test_another_data_set_is_not_looked_for_in_a_folder_of_the_user_s_own(
    call: Call, on_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(on_folder)
    monkeypatch.setenv("VAE_LIGHTNING_DATA", str(on_folder / "downloads"))
    write_fake_mnist(on_folder / "downloads")
    quick = (QUICK, "detect.false_positive_rate=0.2")
    outcome = call("ckpt_path=run", *quick, "against=mnist", "output_dir=beside")
    assert outcome.status == 0, outcome.err
    shown = {row["label"]: row["class"] for row in listed(Path("beside"))}
    assert shown["normal"] == "image_folder"
    assert shown["anomaly"] in "0123456789"
    assert all(path.suffix == ".png" for path in Path("mine").iterdir())
    refused = call("ckpt_path=run", *quick, "against=image_folder", "output_dir=other")
    assert refused.status == 1
    assert "set input to a folder of images" in refused.err


def test_files_of_a_folder_that_cannot_be_read_are_named_and_passed_over(
    call: Call, run: Path
) -> None:
    Path("own").mkdir()
    for name, image in zip("abc", planted(run), strict=True):
        Image.fromarray(image[0].numpy()).save(f"own/{name}.png")
    Path("own/broken.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match="left out: own/broken.png is not an image"):
        outcome = call(f"ckpt_path={run}", QUICK, "input=own", "output_dir=out")
    assert outcome.status == 0, outcome.err
    assert sorted(row["name"] for row in listed(Path("out"))) == ["a.png", "b.png", "c.png"]
    for name in "abc":
        Path(f"own/{name}.png").unlink()
    outcome = call(f"ckpt_path={run}", QUICK, "input=own", "output_dir=none")
    assert outcome.status == 1
    assert "own/broken.png is not an image that can be read" in outcome.err


def test_a_sweep_becomes_a_table_over_classes_and_seeds(call: Call, sweep: Path) -> None:
    score = "detect.score=[reconstruction_probability,reconstruction]"
    outcome = call(f"ckpt_path={sweep}", QUICK, score, "output_dir=out")
    assert outcome.status == 0, outcome.err
    rows = json.loads(Path("out/table.json").read_text())["rows"]
    assert [(row["anomaly"], row["score"], row["seeds"]) for row in rows] == [
        (anomaly, name, [0, 1])
        for name in ("reconstruction_probability", "reconstruction")
        for anomaly in ("0", "1")
    ]
    single = facts(Path("out/3_digits"))["scores"]["reconstruction"]
    assert rows[3]["auroc"]["runs"][1] == single["auroc"]
    assert rows[3]["auprc"]["runs"][1] == single["auprc"]
    lines = Path("out/table.md").read_text().splitlines()
    assert lines[2] == "| anomaly | share | seeds | reconstruction probability | reconstruction |"
    assert "4 of 4" in outcome.out
    assert "AUPRC of a guess" in outcome.out


def test_a_table_has_means_over_seeds_and_over_anomalies() -> None:
    rows = [
        TableRow("0", "elbo", [0, 1], 0.1, auroc=[0.5, 0.7], auprc=[0.2, 0.2]),
        TableRow("1", "elbo", [0], 0.3, auroc=[1.0], auprc=[0.4]),
    ]
    kept = rows_summary(rows)[0]["auroc"]
    assert kept["mean"] == pytest.approx(0.6)
    assert kept["standard_deviation"] == pytest.approx(0.1 * math.sqrt(2))
    _, lines = table_cells(rows, "auroc")
    assert lines == [
        ["0", "0.100", "2", "0.600 ± 0.141"],
        ["1", "0.300", "1", "1.000"],
        ["mean", "0.200", "", "0.800"],
    ]


def test_a_printed_table_shows_every_score_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    rows = [
        TableRow("0", score, [0, 1], 0.1, auroc=[0.5, 0.7], auprc=[0.2, 0.3]) for score in UNITS
    ]
    print_table(rows, [{"data": "tiny", "num_samples": 5, "binarize": "none"}], [])
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if "0.600 ± 0.141" in line and "0.250 ± 0.071" in line]) == 5
    for score in UNITS:
        assert score.replace("_", " ") in [line.strip() for line in lines]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["ckpt_path=null"], "ckpt_path is missing"),
        (["ckpt_path=nowhere"], "nowhere does not exist"),
        (["detect=null"], "detect=None should be a section: its keys are set as in detect.score="),
        (["detect=foo"], "detect=foo should be a section"),
        (["~input"], "input cannot be left out"),
        (["+sede=1"], "sede is not a key of the configuration: did you mean seed?"),
        (["detect.score=elbow"], "detect.score=elbow is not one: did you mean elbo?"),
        (["detect.score=[]"], "detect.score is empty"),
        (["detect.score=[nll,nll]"], "names one twice"),
        (["detect.num_samples=0"], "detect.num_samples=0 is out of range"),
        (["detect.false_positive_rate=0"], "detect.false_positive_rate=0 is out of range"),
        (["detect.false_positive_rate=1.0"], "detect.false_positive_rate=1.0 is out of range"),
        (["detect.false_positive_rate=0.005"], "137 validation images resolve no share below"),
        (["detect.rate=0.1"], "rate is not a key of detect"),
        (["input=nothing"], "nothing does not exist"),
        (["input=empty"], "empty holds no image"),
        (["input=bare.npz"], "bare.npz holds no array named images"),
        (["input=classes.npz"], "classes.npz holds labels other than 0 (normal) and 1 (anomaly)"),
        (["input=large.png"], "set fit=true"),
        (["input=large.png", "against=mnist"], "input and against are both set"),
        (["against=fashion"], "against=fashion is not there: did you mean fashion_mnist?"),
        (["against=digits"], "against=digits is what the model was trained on"),
        (["seed=-1"], "seed=-1 is out of range"),
        (["device=gup"], "device=gup is no device"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line(
    call: Call, run: Path, args: list[str], said: str
) -> None:
    Path("empty").mkdir()
    np.savez("bare.npz", pictures=np.zeros(3))
    images = np.zeros((2, 1, 8, 8), dtype=np.uint8)
    np.savez("classes.npz", images=images, labels=np.array([0, 7]))
    Image.new("L", (9, 9)).save("large.png")
    before = sorted(path.name for path in Path().iterdir())
    outcome = call(f"ckpt_path={run}", *args)
    assert outcome.status == 1
    assert outcome.err.startswith("error: ")
    assert said in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert sorted(path.name for path in Path().iterdir()) == before
    assert not (run / "detect").exists()


def changed(run: Path, folder: Path, keys: dict[str, Any]) -> Path:
    """A run whose checkpoint says something else of its data or model."""
    from vae_lightning.checkpoint import Checkpoint

    content = Checkpoint(run).content
    for key, value in keys.items():
        group, leaf = key.split(".")
        content["config"][group][leaf] = value
    (folder / "checkpoints").mkdir(parents=True)
    torch.save(content, folder / "checkpoints" / "best.ckpt")
    (folder / "metrics.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("data.val_size", 0, "train with data.val_size above 0"),
        ("data.validation", "test", "validates on the test split"),
    ],
)
def test_a_run_without_images_to_calibrate_on_is_refused(
    call: Call, run: Path, tmp_path: Path, key: str, value: Any, said: str
) -> None:
    outcome = call(f"ckpt_path={changed(run, tmp_path / 'other', {key: value})}")
    assert outcome.status == 1
    assert said in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_a_model_without_held_out_classes_scores_its_test_split_without_curves(
    call: Call, run: Path, tmp_path: Path
) -> None:
    folder = changed(run, tmp_path / "plain", {"data.held_out": []})
    outcome = call(f"ckpt_path={folder}", QUICK, "output_dir=out")
    assert outcome.status == 0, outcome.err
    assert {row["label"] for row in listed(Path("out"))} == {"normal"}
    assert not Path("out/curves.png").exists()


def test_runs_that_do_not_belong_in_one_table_are_refused(
    call: Call, run: Path, tmp_path: Path
) -> None:
    changed(run, tmp_path / "sweep" / "0_digits", {})
    changed(run, tmp_path / "sweep" / "1_digits", {"data.batch_size": 64})
    outcome = call(f"ckpt_path={tmp_path / 'sweep'}", QUICK)
    assert outcome.status == 1
    assert "data.batch_size=64" in outcome.err
    changed(run, tmp_path / "plain" / "0_digits", {"data.held_out": []})
    outcome = call(f"ckpt_path={tmp_path / 'plain'}", QUICK)
    assert "held no class out" in outcome.err


def test_a_job_that_has_not_finished_is_left_out_and_named(
    call: Call, run: Path, tmp_path: Path
) -> None:
    changed(run, tmp_path / "sweep" / "0_digits", {})
    half = changed(run, tmp_path / "sweep" / "1_digits", {})
    (half / "metrics.json").unlink()
    outcome = call(f"ckpt_path={tmp_path / 'sweep'}", QUICK, "output_dir=out")
    assert outcome.status == 0, outcome.err
    assert "warning: left out because they have not finished: 1_digits" in outcome.err
    assert [row["seeds"] for row in json.loads(Path("out/table.json").read_text())["rows"]] == [[0]]


def test_the_configuration_is_shown_without_torch() -> None:
    code = "import sys; sys.argv=['d','--cfg','job']; import vae_lightning.detect as d; d.main(); "
    code += "assert 'torch' not in sys.modules"
    process = run_python("-c", code, cwd=Path.cwd())
    assert process.returncode == 0, process.stderr
    assert "false_positive_rate" in process.stdout
