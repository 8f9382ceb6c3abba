"""What a name that does not exist was meant to be. Imports neither torch nor lightning."""

import difflib
from collections.abc import Iterable

from vae_lightning.config.composition import CONF_DIR
from vae_lightning.config.variants import VARIANTS

# Names of keys in other programs and papers. A value `group=option` is a setting: the name stands
# for the group among keys, and for the option among options.
_SYNONYMS = {
    "trainer.max_epochs": ("epochs", "epoch", "num_epochs", "n_epochs", "nb_epochs"),
    "optimizer.lr": ("learning_rate",),
    "optimizer.weight_decay": ("wd", "l2_penalty"),
    "data.batch_size": ("batch", "bs", "train_batch_size"),
    "data.eval_batch_size": ("test_batch_size", "val_batch_size"),
    "model.latent_dim": (
        *("latent_size", "latent_dims", "latent_dimension", "latent_dimensions", "latent"),
        *("latents", "n_latent", "num_latents", "nz", "z_dim", "dim_z", "z_size", "code_size"),
        *("bottleneck", "embedding_dim"),
    ),
    "model.encoder.hidden": ("hidden_dim", "hidden_dims", "hidden_size", "hidden_units"),
    "objective.beta": ("kl_weight", "kld_weight"),
    "objective.num_samples": ("k", "importance_samples", "num_importance_samples"),
    "objective": ("loss", "criterion"),
    "optimizer": ("optim", "opt"),
    "scheduler": ("lr_scheduler", "lr_schedule"),
    "data": ("dataset", "datamodule"),
    "trainer.gradient_clip_val": ("grad_clip", "clip_grad", "gradient_clip", "max_grad_norm"),
    "ckpt_path": ("resume", "resume_from", "checkpoint", "ckpt", "load"),
    "init_from": (
        *("pretrained", "pretrained_path", "pretrained_weights", "init_weights", "weights"),
        *("initial_checkpoint", "warm_start", "finetune", "finetune_from", "start_from"),
    ),
    "freeze": ("frozen", "freeze_parts", "freeze_modules", "freeze_encoder", "freeze_decoder"),
    "seed": ("random_state", "random_seed"),
    "trainer=gpu": ("gpu", "gpus", "cuda"),
    "trainer=mps": ("mps", "metal"),
    "trainer=ddp": ("distributed", "multi_gpu"),
    "model/likelihood=normal": ("gaussian", "mse", "l2"),
    "model/likelihood=laplace": ("l1", "mae"),
    "model/likelihood=bernoulli": ("bce", "binary", "cross_entropy"),
    "model/posterior=diagonal_normal": ("gaussian", "normal", "diagonal"),
    "model/prior=standard_normal": ("gaussian", "normal"),
    "model/prior=mixture": ("gmm", "mog"),
    "model/encoder=conv": ("cnn", "convolutional"),
    "model/decoder=conv": ("cnn", "convolutional"),
}

# A name is near another one if so much of both is the same (`difflib`), and either their lengths
# differ by few letters or one contains the other: adagrad is not near adam_normgrad.
_NEAR = 0.65
_LETTERS = 3
# More keys of the same name than this are no guess.
_MOST = 4


def nearest(name: str, choices: Iterable[str], listed: Iterable[str] = ()) -> str:
    """The end of a message about an unknown name: what it may have meant, or a list.

    Args:
        name: the unknown name.
        choices: the known names; a key may be written with its section, as in `optimizer.lr`.
        listed: what to list if there is no guess; by default, the choices.
    """
    choices = sorted(choices)
    if found := same_name(name, choices) or similar(name, choices):
        return did_you_mean(found)
    return f"there are: {', '.join(sorted(listed) or choices)}"


def did_you_mean(found: Iterable[str]) -> str:
    """The end of a message with guesses."""
    return f"did you mean {' or '.join(found)}?"


def same_name(name: str, choices: Iterable[str]) -> list[str]:
    """The choices whose last part is a name, or that it is a synonym of; none if there are many.

    Args:
        name: a key, of which the last part is compared, or an option.
        choices: keys with their sections, or options.
    """
    choices, last = sorted(choices), _last(name)
    found = [choice for choice in choices if choice != name and _last(choice) == last]
    if not found:
        meant = [key for key, names in _SYNONYMS.items() if _plain(last) in map(_plain, names)]
        found = list(filter(None, (_among(choices, key) for key in meant)))
    found = sorted({as_written(key) for key in found}, key=lambda key: (key.count("."), key))
    return found if len(found) <= _MOST else []


def similar(name: str, choices: Iterable[str]) -> list[str]:
    """The choice that is spelled most like a name, in a list; none if none is near."""
    matcher = difflib.SequenceMatcher(b=name)
    best, ratio = "", _NEAR
    for choice in sorted(choices, key=lambda choice: (choice.count("."), choice)):
        if _last(choice) == name:  # in so many sections that `same_name` has no guess
            continue
        for spelled in {choice, _last(choice)}:
            matcher.set_seq1(spelled)
            inside = min(len(name), len(spelled)) > 2 and (name in spelled or spelled in name)
            if abs(len(name) - len(spelled)) > _LETTERS and not inside:
                continue
            if (reached := matcher.ratio()) > ratio:
                best, ratio = choice, reached
    return [as_written(best)] if best else []


def variant(name: str) -> str | None:
    """The settings of a variant of the VAE by its name in the literature; None for other names."""
    wanted = _plain(_last(name))
    for settings, names in VARIANTS.items():
        if wanted in map(_plain, names):
            return settings
    return None


def as_written(key: str) -> str:
    """A key as it is written on a command line: `model/prior` for the group at `model.prior`."""
    group = key.replace(".", "/")
    return group if "." in key and (CONF_DIR / group).is_dir() else key


def chosen_as(group: str, value: object) -> str:
    """How an option of a group is chosen: the setting if there is such an option, or a list."""
    options = sorted(file.stem for file in (CONF_DIR / group.partition("@")[0]).glob("*.yaml"))
    if str(value) in options:
        return f"{group}={value}"
    if found := same_name(str(value), options) or similar(str(value), options):
        return f"{group}={found[0]}"
    return f"{group}=... (there are: {', '.join(options)})"


def _among(choices: Iterable[str], key: str) -> str | None:
    """The choice that a key or a setting of `_SYNONYMS` stands for."""
    group, _, option = key.partition("=")
    for choice in choices:
        if option and choice == option:
            return choice
        if choice == group.replace("/", ".") or (not option and choice == _last(group)):
            return key if option else choice
    return None


def _last(name: str) -> str:
    return name.replace("/", ".").rpartition(".")[2]


def _plain(name: str) -> str:
    """A name without what its spellings differ in: beta-VAE, beta_vae and BetaVAE are one."""
    return "".join(filter(str.isalnum, name.casefold()))
