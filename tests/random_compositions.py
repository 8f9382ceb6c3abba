"""Random compositions through every command: each works, or is refused with advice that works.

    python tests/random_compositions.py --count 60 --seed 0

prints a line for each composition, and the traceback of every error that a command does not expect.
"""

import argparse
import contextlib
import importlib
import io
import os
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from advice import Settings, advice, changed
from tiny import options
from vae_lightning.distributions.spaces import PRIORS, Space

# A change of one part may show that another one does not fit either.
MAX_CHANGES = 5

SPACES: dict[str, Space] = {"von_mises_fisher": "sphere", "relaxed_categorical": "simplex"}

# What is run on a trained model. Small numbers, but every part of every command.
COMMANDS: tuple[tuple[str, list[str]], ...] = (
    ("evaluate", ["num_samples=20", "num_images=60"]),
    ("generate", ["mode=samples", "mode.count=12"]),
    ("generate", ["mode=samples", "mode.count=12", "mode.draw_from=mixture", "mode.components=2"]),
    ("generate", ["mode=reconstruct", "mode.num_samples=3"]),
    ("generate", ["mode=interpolate"]),
    ("generate", ["mode=traverse"]),
    ("generate", ["mode=manifold", "mode.count=5"]),
    ("generate", ["mode=augment", "mode.per_class=3", "mode.measure=false"]),
    ("detect", ["detect.num_samples=5", "detect.false_positive_rate=0.2"]),
    ("export", []),
)


@dataclass
class Result:
    """What became of a composition.

    Attributes:
        settings: of the training run that worked.
        refused: the messages of the training runs before it.
        outcomes: for each command, `works` or its one-line refusal.
        faults: tracebacks, refusals without advice that works, and messages that are not one line.
    """

    settings: Settings
    refused: list[str] = field(default_factory=list)
    outcomes: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def random_settings(chance: random.Random, folder: Path) -> Settings:
    """The settings of a training run that takes a second or two.

    Args:
        chance: where they are drawn from.
        folder: of labelled images.
    """

    def one(values: Sequence[str]) -> str:
        return chance.choice(values)

    def sometimes(probability: float, settings: Settings) -> None:
        if chance.random() < probability:
            found.update(settings)

    found: Settings = {
        "callbacks": one(["default", "default", "minimal", "[default,early_stopping]",
                          "[default,averaged_weights]"]),
        "logger": one(options("logger")),
        "trainer.max_epochs": "2",
        "optimizer": one(options("optimizer")),
        "scheduler": one([name for name in options("scheduler") if name != "stages"]),
        "model": one(["vae"] * 5 + ["conditional", "hierarchical", "vector_quantized"]),
        "objective": one(options("objective")),
        "model/likelihood": one(options("model/likelihood")),
        "model/decoder": one(["mlp", "mlp", "conv", "resnet"]),
        "seed": str(chance.randrange(100)),
    }  # fmt: skip
    if chance.random() < 0.75:
        found |= {"data": "digits", "data.size": one(["8", "8", "16"])}
        sometimes(0.2, {"data.held_out": "[3]"})
    else:
        found |= {"data": "image_folder", "data.root": str(folder), "data.size": "16"}
        found["data.num_workers"] = "0"
        sometimes(0.15, {"data.max_resident_gb": "0"})
    found["data.binarize"] = one(["none", "threshold", "fixed", "dynamic"])
    if found["model"] == "vector_quantized":
        found |= {"model.num_codes": "8", "model.prior.width": "8", "model.prior.heads": "2"}
        found |= {
            "model/encoder": one(["conv", "resnet"]),
            "model/decoder": one(["conv", "resnet"]),
        }
    else:
        found["model.initialization"] = one(["torch", "glorot_uniform", "he_normal"])
        posterior = one(options("model/posterior"))
        space = SPACES.get(posterior, "euclidean")
        found["model/posterior"] = posterior
        found["model/prior"] = one(
            PRIORS[space] if chance.random() < 0.85 else options("model/prior")
        )
        if found["model/prior"] == "vamp":
            found["model.prior.num_components"] = "7"
        if found["model"] == "hierarchical":
            found["model.latent_dims"] = "[4,3]"
            found["model.inference"] = one(["top_down", "bottom_up", "ladder"])
            found["model.decoder_sees"] = one(["all", "lowest"])
        else:
            found["model/encoder"] = one(["mlp", "mlp", "conv", "resnet"])
            found["model.latent_dim"] = one(["10", "20"])
    for part in ("encoder", "decoder"):
        if found.get(f"model/{part}", "mlp") == "mlp":
            found[f"model.{part}.hidden"] = "[16]"
            sometimes(0.2, {f"model.{part}.batch_norm": "true"})
        else:
            found[f"model.{part}.channels"] = "[8,16]"
    if found["objective"] == "importance_weighted":
        found["objective.gradient"] = one(["standard", "dreg", "sticking_the_landing"])
        sometimes(0.3, {"objective.encoder_groups": "5"})
    if found["objective"] == "elbo":
        sometimes(0.3, {"objective.free_bits": "0.1"})
        found["objective/schedule"] = one(["constant", "linear", "cyclical"])
    sometimes(0.2, {"trainer.gradient_clip_val": "1.0"})
    sometimes(0.2, {"+trainer.accumulate_grad_batches": "3"})
    sometimes(0.2, {"trainer.precision": one(["64-true", "bf16-mixed"])})
    return found


def write_images(folder: Path) -> None:
    """Write 80 labelled colour pictures: squares and stripes of random colours."""
    generator = np.random.default_rng(0)
    for name in ("square", "stripe"):
        (folder / name).mkdir(parents=True)
        for number in range(40):
            pixels = generator.integers(0, 60, (20, 24, 3), dtype=np.uint8)
            colour = generator.integers(100, 256, 3, dtype=np.uint8)
            pixels[5:15, 8:18] = colour if name == "square" else pixels[5:15, 8:18]
            if name == "stripe":
                pixels[:, number % 20 : number % 20 + 4] = colour
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def call(command: str, arguments: Sequence[str]) -> tuple[int, str, str]:
    """Run a command in this process: its status, its output, and its errors or a traceback."""
    out, err = io.StringIO(), io.StringIO()
    before = sys.argv
    sys.argv = [command, *arguments]
    status = 0
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        try:
            importlib.import_module(f"vae_lightning.{command}").main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except Exception:
            status = -1
            err.write(traceback.format_exc())
        finally:
            sys.argv = before
    return status, out.getvalue(), err.getvalue()


def overrides(settings: Settings) -> list[str]:
    return [f"{key}={value}" for key, value in settings.items()]


def error_of(text: str) -> str | None:
    """The message of the one-line error in a command's standard error; None if there is none."""
    lines = [line for line in text.splitlines() if not line.startswith("warning: ")]
    found = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return found[0] if len(found) == 1 and lines[-1] == f"error: {found[0]}" else None


def train(result: Result, folder: Path) -> bool:
    """Train; follow the first piece of advice of each refusal. Return whether a run ended well."""
    while True:
        arguments = ["trainer=cpu", f"hydra.run.dir={folder}", *overrides(result.settings)]
        status, out, err = call("train", arguments)
        if status == 0:
            if "nan" in out.lower():
                result.faults.append(f"nan in the results: {out}")
            return True
        message = error_of(err)
        if status != 1 or message is None:
            result.faults.append(err)
            return False
        if message.startswith(("train/", "val/")) or "diverged" in message or "finite" in message:
            result.outcomes["train"] = message
            return False
        result.refused.append(message)
        choices = advice(message)
        if not choices or len(result.refused) > MAX_CHANGES:
            result.faults.append(f"no advice, or one that leads nowhere: {result.refused}")
            return False
        result.settings = changed(result.settings, choices[0])


def walk(settings: Settings, folder: Path, commands: Sequence[tuple[str, list[str]]]) -> Result:
    """Take a composition through training and the commands on a checkpoint."""
    result = Result(settings)
    run = folder / "run"
    if not train(result, run):
        return result
    for number, (command, arguments) in enumerate(commands):
        name = " ".join([command, *arguments[:1]])
        place = {"ckpt_path": str(run), "output_dir": str(folder / str(number))}
        if command != "export":
            place["device"] = "cpu"
        settings = {key: value for key, _, value in (item.partition("=") for item in arguments)}
        result.outcomes[name] = use(result, command, {**place, **settings})
    return result


def use(result: Result, command: str, settings: Settings) -> str:
    """Run a command on the trained model; follow the first piece of advice of each refusal.

    Returns:
        `works`, or the message of a refusal that no setting of the command can avoid.
    """
    for _ in range(MAX_CHANGES):
        status, _, err = call(command, overrides(settings))
        message = error_of(err)
        if status == 0:
            return "works"
        if status != 1 or message is None:
            result.faults.append(f"{command} {settings}: {err}")
            return "fault"
        if not (choices := advice(message)):
            return message
        settings = changed(settings, choices[0])
    result.faults.append(f"{command} {settings} is refused still: {message}")
    return "fault"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first composition")
    asked = parser.parse_args()
    faults = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)
        write_images(folder / "photos")
        for number in range(asked.first, asked.first + asked.count):
            started = time.perf_counter()
            chance = random.Random(f"{asked.seed} {number}")
            settings = random_settings(chance, folder / "photos")
            result = walk(settings, folder / str(number), COMMANDS)
            works = sum(outcome == "works" for outcome in result.outcomes.values())
            faults += bool(result.faults)
            print(
                f"{number}: {works} commands work, {len(result.refused)} refusals, "
                f"{len(result.faults)} faults, {time.perf_counter() - started:.0f} s\n"
                f"  {' '.join(overrides(settings))}"
            )
            for message in result.refused:
                print(f"  refused: {message}")
            for command, outcome in result.outcomes.items():
                if outcome != "works":
                    print(f"  {command}: {outcome}")
            for fault in result.faults:
                print(f"  FAULT {fault}")
            sys.stdout.flush()
    print(f"{faults} of {asked.count} compositions have a fault")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
