"""What a wrong guess on the command line is answered with."""

import shlex
from pathlib import Path

import pytest

from conftest import CallCommand
from tiny import options

IWAE = "objective=importance_weighted objective.num_samples=50"

GUESSES = [
    ("lr=1e-3", "lr is not a key of the configuration: did you mean optimizer.lr?"),
    ("+lr=1e-3", "did you mean optimizer.lr?"),
    ("model.lr=1e-3", "lr is not a key of model: did you mean optimizer.lr?"),
    ("learning_rate=1e-3", "did you mean optimizer.lr?"),
    ("epochs=3", "did you mean trainer.max_epochs?"),
    ("max_epochs=3", "did you mean trainer.max_epochs?"),
    ("trainer.epochs=3", "did you mean max_epochs?"),
    ("batch_size=3", "did you mean data.batch_size?"),
    ("latent_size=3", "did you mean model.latent_dim?"),
    ("z_dim=3", "did you mean model.latent_dim?"),
    ("+model.z_dim=3", "did you mean latent_dim?"),
    ("beta=4", "did you mean objective.beta?"),
    ("gpu=1", "did you mean trainer=gpu?"),
    ("trainer=cuda", "trainer=cuda does not exist: did you mean gpu?"),
    ("hidden=[400]", "did you mean model.decoder.hidden or model.encoder.hidden?"),
    ("model=iwae", f"model=iwae does not exist: did you mean {IWAE}?"),
    ("iwae=true", f"did you mean {IWAE}?"),
    ("model=betavae", "did you mean objective.beta=4?"),
    ("objective=beta_tcvae", "did you mean objective=total_correlation?"),
    ("model/posterior=iaf", "did you mean model/posterior=flow?"),
    ("model/likelihood=gaussian", "did you mean normal?"),
    ("optimizer=adagrad", "there are: adam, adam_normgrad, adamw, sgd"),
    ("prior=vamp", "did you mean model/prior=vamp?"),
    ("zzz=1", "there are: callbacks, ckpt_path, data,"),
    # An option where a section belongs.
    ("model.prior=vamp", "should be a section: to choose an option, write model/prior=vamp"),
    ("model.prior=null", "write model/prior=... (there are: flow, mixture,"),
    (
        "model=hierarchical model.conditional=flow",
        "write model/posterior@model.conditional=flow",
    ),
    # Deleted keys, for which a class has a value of its own.
    ("~optimizer.lr", "optimizer.lr cannot be left out: set it, as in optimizer.lr=..."),
    ("~optimizer.betas", "optimizer.betas cannot be left out"),
    ("~trainer.max_epochs", "trainer.max_epochs cannot be left out"),
    ("~model.encoder.hidden", "model.encoder.hidden cannot be left out"),
    ("~model.encoder", "set it, as in model/encoder=..."),
    # Sweeps over nothing.
    ("-m seed=range(0,0)", "seed=range(0,0) is a sweep over no values"),
    ("-m seed=range(0,0) model.latent_dim=2,3", "seed=range(0,0) is a sweep over no values"),
    ("-m seed=glob(zzz*)", "seed=glob(zzz*) is a sweep over no values"),
    ("seed=range(0,0)", "seed has several values: add -m"),
]


@pytest.mark.parametrize(("typed", "answer"), GUESSES, ids=[typed for typed, _ in GUESSES])
def test_a_wrong_guess_is_answered_in_one_line_before_anything_is_written(
    call_train: CallCommand, tmp_path: Path, typed: str, answer: str
) -> None:
    outcome = call_train(*shlex.split(typed))
    assert len(outcome.err.splitlines()) == 1
    assert outcome.err.startswith("error: ")
    assert answer in outcome.err
    assert outcome.status == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "group",
    ["model/encoder", "model/decoder", "model/posterior", "model/prior", "model/likelihood",
     "objective/schedule"],
)  # fmt: skip
def test_an_option_in_place_of_a_section_is_refused_for_every_group(
    call_train: CallCommand, group: str
) -> None:
    option = options(group)[-1]
    outcome = call_train(f"{group.replace('/', '.')}={option}")
    assert outcome.err.endswith(f"write {group}={option}\n")


def test_an_argument_that_another_class_does_not_have_may_be_deleted(
    call_train: CallCommand,
) -> None:
    adagrad = ["optimizer._target_=torch.optim.Adagrad", "~optimizer.betas", "~optimizer.fused"]
    outcome = call_train("--cfg", "job", *adagrad)
    assert outcome.status == 0
    assert "betas" not in outcome.out
