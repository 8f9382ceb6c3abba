import json
import statistics
from pathlib import Path

from conftest import RunCommand


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
