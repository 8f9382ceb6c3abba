import json
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
        "trainer.max_epochs=1",
        module="vae_lightning.benchmark",
    )
    assert result.returncode == 0, result.stderr
    (file,) = tmp_path.glob("outputs/benchmark/runs/*/benchmark.json")
    figures = json.loads(file.read_text())
    rivals = ("vae_lightning", "hand-written loop", "textbook script")
    assert all(figures[name]["median"] > 0 for name in rivals)
    own, hand = (figures[name]["seconds"][0] for name in rivals[:2])
    assert figures["overhead"] == own / hand
    assert figures["nll_ratio"] == figures["nll"][0] / figures["matrix products"][0]
    sampling = figures["sampling"]
    products = sampling["matrix products"][0]
    assert figures["samples_ratio"] == sampling["samples"][0] / products
    assert figures["samples_written_ratio"] == sampling["samples written"][0] / products
    assert "times the" in " ".join(result.stdout.split())
