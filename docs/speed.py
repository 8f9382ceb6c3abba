"""Draws docs/images/speed.png from a benchmark.

python -m vae_lightning.benchmark
python docs/speed.py outputs/benchmark/runs/<run>/benchmark.json
"""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt

BARS = {
    "hand-written loop": "hand-written loop:\nnetwork, Adam, nothing else",
    "vae_lightning": "vae_lightning: with validation,\npictures and logging",
    "textbook script": "textbook script: DataLoader,\nimage transforms, .item()",
}


def main() -> None:
    result = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    epoch = result["hand-written loop"]["ratio"]
    ratios = [result[name]["ratio"] / epoch for name in BARS]
    figure, axis = plt.subplots(figsize=(8, 2.2), layout="constrained")
    bars = axis.barh(list(BARS.values()), ratios, color=["0.6", "C0", "0.6"], height=0.6)
    axis.bar_label(bars, [f"{ratio:.2f}" for ratio in ratios], padding=4)
    axis.invert_yaxis()
    axis.set_xlabel("time of an epoch, relative to the hand-written loop")
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    figure.savefig(Path(__file__).parent / "images" / "speed.png", dpi=110)


if __name__ == "__main__":
    main()
