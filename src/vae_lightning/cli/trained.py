"""What was trained, in a line."""

from typing import Any

from vae_lightning.config.hyperparameters import hyperparameters


def describe_training(config: dict[str, Any]) -> str:
    """The size of the latent space, the objective, the optimiser, its learning rate and the seed.

    Args:
        config: of a training run, resolved.
    """
    found = hyperparameters(config)
    parts = []
    for key, what in (
        ("latent_dim", "latent dimensions"),
        ("latent_dims", "latent dimensions"),
        ("num_codes", "codes"),
    ):
        if (size := config["model"].get(key)) is not None:
            sizes = size if isinstance(size, list) else [size]
            parts.append(f"{' + '.join(map(str, sizes))} {what}")
            break
    objective = str(found["objective"])
    if found.get("objective.beta", 1) != 1:
        objective += f" with beta {found['objective.beta']:g}"
    if found.get("objective.num_samples", 1) != 1:
        objective += f" with K = {found['objective.num_samples']}"
    parts.append(objective)
    if (optimizer := found.get("optimizer")) is not None:
        # Some optimisers find their learning rate themselves.
        rate = found.get("optimizer.lr")
        parts.append(f"{optimizer}" if rate is None else f"{optimizer} at {rate:g}")
    if (schedule := found.get("scheduler")) not in (None, "ConstantLR"):
        parts.append(str(schedule))
    return ", ".join([*parts, f"seed {found['seed']}"])
