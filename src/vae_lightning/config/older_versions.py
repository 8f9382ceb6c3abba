"""The configurations of older checkpoints, in current names."""

from typing import Any

# New names of classes that have moved or have been renamed, by their names in older checkpoints.
MOVED = {
    "vae_lightning.distributions.code_maps.CodePrior": (
        "vae_lightning.distributions.codes.CodePrior"
    ),
    "vae_lightning.optimizers.AdamNormGrad": "vae_lightning.training.optimizers.AdamNormGrad",
    "vae_lightning.distributions.posteriors.flow.Flow": (
        "vae_lightning.distributions.posteriors.flow.FlowPosterior"
    ),
    "vae_lightning.distributions.posteriors.von_mises_fisher.VonMisesFisher": (
        "vae_lightning.distributions.posteriors.von_mises_fisher.VonMisesFisherPosterior"
    ),
    "vae_lightning.distributions.priors.flow.Flow": (
        "vae_lightning.distributions.priors.flow.FlowPrior"
    ),
}

# Arguments that were added to classes, with the values that keep the earlier behaviour.
_ADDED: dict[str, dict[str, Any]] = {
    "vae_lightning.networks.MLPEncoder": {"batch_norm": False},
    "vae_lightning.networks.MLPDecoder": {"batch_norm": False},
    "vae_lightning.distributions.posteriors.flow.FlowPosterior": {"passes": None},
    "vae_lightning.data.ImageFolderModule": {"class_order": "text"},
    "torch.optim.lr_scheduler.ConstantLR": {"interval": "epoch"},
    "torch.optim.lr_scheduler.CosineAnnealingLR": {"interval": "epoch"},
    "torch.optim.lr_scheduler.LinearLR": {"interval": "epoch"},
    "torch.optim.lr_scheduler.MultiStepLR": {"interval": "epoch"},
}

# Values that have been renamed, by class and key.
_VALIDATION = {"validation": {"held_out": "split"}}
_RENAMED: dict[str, dict[str, dict[str, str]]] = {
    "vae_lightning.data.ImageDataModule": _VALIDATION,
    "vae_lightning.data.ImageFolderModule": _VALIDATION,
}


def updated(node: Any) -> Any:
    """A node of an older checkpoint's configuration with current names and the keys added since."""
    if isinstance(node, list):
        return [updated(item) for item in node]
    if not isinstance(node, dict):
        return node
    result = {key: updated(value) for key, value in node.items()}
    target = str(result.get("_target_"))
    if target in MOVED:
        result["_target_"] = target = MOVED[target]
    for key, names in _RENAMED.get(target, {}).items():
        result[key] = names.get(str(result.get(key)), result.get(key))
    return {**_ADDED.get(target, {}), **result}
