"""The hyperparameters of a configuration: the keys that influence results."""

from typing import Any

_GROUPS = ("seed", "data", "model", "objective", "optimizer", "scheduler")
_TRAINER = ("accelerator", "precision", "max_epochs", "gradient_clip_val")

# Locations of files, and keys that repeat another key.
_LEFT_OUT = (
    "data", "data.source", "data.root", "data.path", "data.seed", "data.eval_batch_size",
    "data.cache", "data.max_resident_gb", "data.num_workers",
)  # fmt: skip


def hyperparameters(config: dict[str, Any]) -> dict[str, Any]:
    """The hyperparameters of a run, flat; the name of a class is the value of its group's key.

    Args:
        config: of a training run, resolved.
    """
    flat: dict[str, Any] = {f"trainer.{key}": str(config["trainer"].get(key)) for key in _TRAINER}

    def visit(node: Any, path: str) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                if key == "_target_":
                    flat[path] = value.rpartition(".")[2]
                elif not key.startswith("_"):
                    visit(value, f"{path}.{key}")
        else:
            flat[path] = node if isinstance(node, int | float | str) else str(node)

    for group in _GROUPS:
        visit(config.get(group), group)
    return {key: value for key, value in flat.items() if key not in _LEFT_OUT}
