"""`--help`, `--version` and the list of commands."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import CallCommand
from vae_lightning import __main__, __version__
from vae_lightning.cli.help import COMMANDS, MOST_USED, Help
from vae_lightning.config import CONF_DIR, compose
from vae_lightning.config.comments import read


def help_of(command: str, *overrides: str) -> Help:
    return Help(command, compose(command, overrides, with_hydra=True), {}, [])


def helps() -> Iterator[Help]:
    """The help of each command, and of all groups that a model can have."""
    yield from map(help_of, COMMANDS)
    yield help_of("train", "model=hierarchical")


def call_main(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[object, str, str]:
    monkeypatch.setattr(sys, "argv", ["vae-lightning", *arguments])
    for command in COMMANDS:  # runpy warns about modules that are loaded already
        monkeypatch.delitem(sys.modules, f"vae_lightning.{command}", raising=False)
    status: object = 0
    try:
        __main__.main()
    except SystemExit as end:
        status = end.code
    return (status, *capsys.readouterr())


# -- the words ------------------------------------------------------------------------------------


def test_every_group_option_and_key_has_a_comment() -> None:
    missing = set()
    for shown in helps():
        missing |= {group for group, words in shown.groups.items() if not words}
        missing |= {key.name for key in shown.keys("", shown.command) if not key.comment}
        for group in shown.groups:
            for option in shown.options(group):
                file = shown.file(group, option)
                missing |= {f"{group}={option}"} if not file.comment else set()
                # Experiments and the like set keys that other files explain.
                keys = [] if file.is_global else shown.keys(group, option)
                missing |= {f"{group}={option}: {key.name}" for key in keys if not key.comment}
    assert missing == set()


def test_comments_are_read_from_above_a_key_and_from_the_top_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "option.yaml"
    file.write_text(
        "# What it is,\n#\n#   python -m example\ndefaults:\n  # The network.\n"
        "  - encoder: mlp\n  - override /model/prior: vamp\n  - other\n  - _self_\n"
        "_target_: a.B\nbare: 1  # not this\n\n# Of the part,\n# in two lines.\n"
        "part:\n  # Widths.\n  widths: [1, 2]\n  sizes:\n    - ${a}\n    - 3\n"
    )
    found = read(file)
    assert found.comment == "What it is,\n\n  python -m example"
    assert not found.is_global
    assert [(choice.group, choice.option, choice.comment) for choice in found.choices] == [
        ("encoder", "mlp", "The network."),
        ("/model/prior", "vamp", ""),
        ("", "other", ""),
    ]
    assert [(key.name, key.value, key.comment) for key in found.keys] == [
        ("bare", "1", ""),
        ("part", None, "Of the part,\nin two lines."),
        ("part.widths", "[1,2]", "Widths."),
        ("part.sizes", "[${a},3]", ""),
    ]
    other = tmp_path / "other.yaml"
    other.write_text("# Of the file, not of its first key.\nfirst: 1\n")
    assert [key.comment for key in read(other).keys] == [""]


# -- the overview ---------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_the_overview_fits_and_names_groups_keys_and_examples(
    call_command: CallCommand, command: str
) -> None:
    outcome = call_command("--help", command=command)
    assert (outcome.status, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) < 135
    assert lines[0].startswith(read(CONF_DIR / f"{command}.yaml").comment.split()[0])
    shown = help_of(command)
    if shown.groups:
        assert "[default]" in outcome.out or "[on_checkpoint]" in outcome.out
    for key in shown.keys("", command):
        assert any(line.startswith(f"  {key.name}") for line in lines)
    assert f"  python -m vae_lightning.{command}" in outcome.out.partition("Examples")[2]


def test_the_overview_marks_defaults_and_explains_the_most_used_keys(
    call_command: CallCommand,
) -> None:
    out = call_command("--help").out
    assert "flow mixture [standard_normal] uniform_categorical" in out
    assert "  optimizer.lr=0.001          Learning rate" in out
    assert "  model/prior       The prior of the latents, p(z)." in out
    assert "experiments with their expected results" in out


def test_the_most_used_keys_exist() -> None:
    shown = [help_of("train").overview(), help_of("generate").overview()]
    for key in MOST_USED:
        assert any(f"  {key}=" in text for text in shown), key


def test_the_values_are_those_of_the_command_line(call_command: CallCommand) -> None:
    out = call_command("--help", "seed=7", "optimizer.lr=0.5", "tags=[a,b]").out
    for setting in ("seed=7", "optimizer.lr=0.5", "tags=[a,b]"):
        assert f"  {setting} " in out


# -- one group ------------------------------------------------------------------------------------


def test_every_page_fits_in_80_columns_and_shows_its_keys() -> None:
    for shown in helps():
        for group in shown.groups:
            page = shown.topic(group)
            for option in shown.options(group):
                one = shown.topic(f"{group}={option}")
                assert f"{group}={option}" in one
                keys = shown.file(group, option).keys
                assert all(key.name.rpartition(".")[2] in one for key in keys)
                assert option in page
                page += f"\n{one}"
            assert max(map(len, page.splitlines())) <= 80


def test_a_group_shows_its_options_and_their_keys_and_marks_the_default(
    call_command: CallCommand,
) -> None:
    outcome = call_command("--help", "model/prior")
    assert (outcome.status, outcome.err) == (0, "")
    pages = outcome.out.split("\n\n")
    assert pages[:2] == [
        "model/prior: The prior of the latents, p(z).",
        "  python -m vae_lightning.train model/prior=<option>",
    ]
    assert pages[2] == (
        "model/prior=flow\n"
        "  Neural spline flow.\n"
        "  model.prior.transforms=3    Number of steps.\n"
        "  model.prior.hidden=[64,64]  Widths of the hidden layers in the network of\n"
        "                              each step.\n"
        "  model.prior.bins=8          Number of pieces of each spline."
    )
    assert [page.splitlines()[0] for page in pages if "(default)" in page] == [
        "model/prior=standard_normal (default)"
    ]


def test_an_option_inherits_the_comments_of_the_one_that_it_is_built_on(
    call_command: CallCommand,
) -> None:
    out = call_command("--help", "data=digits").out
    assert "Has the keys of data=mnist." in out
    assert "data.val_size=137           Training images that are set aside" in out
    assert "(default)" not in out


def test_a_group_of_a_chosen_option_has_its_own_place(call_command: CallCommand) -> None:
    outcome = call_command("--help", "model=hierarchical", "model/decoder@model.inner")
    assert outcome.status == 0
    assert "  model.inner.hidden=[400]" in outcome.out
    assert "  model.latent_dims=[40,40]" in outcome.out


def test_a_folder_of_ones_own_adds_options(call_command: CallCommand, tmp_path: Path) -> None:
    (tmp_path / "own" / "optimizer").mkdir(parents=True)
    file = tmp_path / "own" / "optimizer" / "mine.yaml"
    file.write_text("# My optimiser.\n_target_: torch.optim.Adam\n# Steps.\nlr: 1\n")
    out = call_command("--help", "optimizer", "--config-dir", str(tmp_path / "own")).out
    assert "optimizer=mine\n  My optimiser.\n  optimizer.lr=1              Steps." in out


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        ("modell", "modell is not a group of train: did you mean model?"),
        ("optimizer.lr", "optimizer.lr is not a group: --help optimizer shows its keys"),
        ("model.prior.bins", "--help model/prior shows its keys"),
        ("data=mnits", "data=mnits does not exist: did you mean mnist?"),
    ],
)
def test_what_is_not_a_group_is_refused_with_what_to_write(
    call_command: CallCommand, topic: str, said: str
) -> None:
    outcome = call_command("--help", topic)
    assert (outcome.status, outcome.out) == (1, "")
    assert said in outcome.err
    assert len(outcome.err.splitlines()) == 1


# -- the commands, and the version ----------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_without_a_command_all_are_listed_with_a_line_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    status, out, err = call_main(monkeypatch, capsys, *arguments)
    assert (status, err) == (0, "")
    for command in COMMANDS:
        assert f"\n  {command} " in out
    assert "\n  train       Train a model, test it and report.\n" in out
    assert max(map(len, out.splitlines())) <= 80


def test_the_commands_are_those_that_have_a_configuration() -> None:
    assert sorted(COMMANDS) == sorted(file.stem for file in CONF_DIR.glob("*.yaml"))


def test_a_misspelt_command_is_answered_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "error: trian is not a command: did you mean train?\n"
    assert call_main(monkeypatch, capsys, "trian") == (1, "", said)


def test_a_command_runs_as_the_module_of_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[object] = []

    def hand_over(*_: object, **__: object) -> None:
        seen.append(sys.modules["__main__"].__spec__.name)  # type: ignore[union-attr]
        seen.append(sys.argv[1:])

    monkeypatch.setattr("vae_lightning.cli.command.run", hand_over)
    call_main(monkeypatch, capsys, "train", "data=digits", "seed=1")
    # Lightning starts the processes of further devices by these two.
    assert seen == ["vae_lightning.train", ["data=digits", "seed=1"]]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_the_version_is_that_of_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    arguments = [command, "--version"] if command else ["--version"]
    status, out, err = call_main(monkeypatch, capsys, *arguments)
    assert (status or 0, out, err) == (0, f"vae_lightning {__version__}\n", "")
