import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from conftest import DIGITS, CallCommand, RunCommand
from vae_lightning.benchmarking.scaling import AXES, Curve
from vae_lightning.training.build import Run, build


def test_benchmark_times_all_three_and_says_how_they_compare(
    run_command: RunCommand, tmp_path: Path
) -> None:
    result = run_command(
        "data=digits",
        "trainer=cpu",
        "rounds=1",
        "nll_images=2",
        "samples=1001",
        "trainer.max_epochs=3",
        module="vae_lightning.benchmark",
    )
    assert result.returncode == 0, result.stderr
    (file,) = tmp_path.glob("outputs/benchmark/runs/*/benchmark.json")
    figures = json.loads(file.read_text())
    names = ("vae_lightning", "hand-written loop", "textbook script")
    assert all(figures[name]["median"] > 0 for name in names)
    (own,), (hand,), ((textbook,),) = (figures[name]["seconds"] for name in names)
    assert len(own) == len(hand) == 3
    epochs = [a / b for a, b in zip(own, hand, strict=True)]
    assert figures["overhead"] == statistics.median(epochs)
    assert figures["overhead_of_a_run"] == statistics.mean(own) / statistics.mean(hand)
    assert figures["textbook script"]["ratio"] == textbook / statistics.median(own)
    nll, sampling = figures["evaluation"], figures["sampling"]
    for ratio, seconds, name in (
        ("nll_ratio", nll, "nll"),
        ("samples_ratio", sampling, "samples"),
        ("samples_written_ratio", sampling, "samples written"),
    ):
        assert figures[ratio] == seconds[name][0][0] / seconds["matrix products"][0][0]
    assert "times the" in " ".join(result.stdout.split())


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("fixed", [0.0, 3.0])
def test_the_exponent_is_that_of_the_part_that_grows(fixed: float, exponent: float) -> None:
    values = [1, 4, 16, 64, 256]
    seconds = [[0.1, fixed + 0.5 * value**exponent, 1e6] for value in values]
    curve = Curve("width", "step", values, seconds)
    curve.fit()
    assert curve.exponent == pytest.approx(exponent, abs=1e-3)
    assert curve.fixed == pytest.approx(fixed, abs=1e-2)
    assert curve.at(100) == pytest.approx(fixed + 0.5 * 100**exponent, rel=1e-3)
    assert curve.residual < 1e-3


def test_scaling_varies_one_key_at_a_time_and_says_how_times_grow(
    call_command: CallCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    varied = set()

    def noted(config: dict[str, Any]) -> Run:
        model, limits = config["model"], config["trainer"]
        hidden = (*model["encoder"]["hidden"], *model["decoder"]["hidden"])
        num_samples = config["objective"]["num_samples"]
        steps = limits.get("limit_train_batches", 2)
        varied.add((steps, hidden, model["latent_dim"], num_samples))
        return build(config)

    monkeypatch.setattr("vae_lightning.benchmarking.scaling.build", noted)
    values = {"images": [128, 384, 896, 1280], "width": [8, 32, 128, 512]}
    values |= {"latent_dim": [1, 2, 4, 8], "num_samples": [1, 2, 3, 4]}
    grid = [f"scaling.{axis}={listed}".replace(" ", "") for axis, listed in values.items()]
    outcome = call_command(
        *DIGITS, "measure=scaling", "rounds=1", *grid, "scaling.steps=2", command="benchmark"
    )
    assert outcome.status == 0, outcome.err
    (folder,) = (tmp_path / "outputs" / "benchmark" / "runs").iterdir()
    figures = json.loads((folder / "scaling.json").read_text())
    assert (folder / "scaling.png").read_bytes().startswith(b"\x89PNG")
    for axis, listed in values.items():
        assert figures[axis]["values"] == listed
        assert all(taken > 0 for (taken,) in figures[axis]["seconds"])
        assert AXES[axis] in outcome.out
    assert f"{figures['width']['exponent']:.2f}" in outcome.out
    assert varied == {
        *((steps, (400, 400), 20, 1) for steps in (1, 3, 7, 10)),
        *((2, (width, width), 20, 1) for width in values["width"]),
        *((2, (400, 400), latent_dim, 1) for latent_dim in values["latent_dim"]),
        *((2, (400, 400), 20, num_samples) for num_samples in values["num_samples"]),
    }


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("measure=scalling", "did you mean scaling?"),
        ("scaling.images=[1,2,3,1301]", "needs more than the 1,300 training images"),
        ("scaling.width=[1,2,3]", "scaling.width=[1, 2, 3] should be 4 numbers or more"),
        ("scaling.images=[0,1,2,3]", "from 1"),
        ("scaling.steps=0", "scaling.steps=0 is out of range"),
    ],
)
def test_a_grid_that_cannot_be_fitted_is_refused(
    call_command: CallCommand, override: str, message: str
) -> None:
    options = ("scaling.images=[1,2,3,4]", "measure=scaling")
    outcome = call_command(*DIGITS, *options, override, command="benchmark")
    assert outcome.status == 1
    assert message in outcome.err
    assert len(outcome.err.splitlines()) == 1
