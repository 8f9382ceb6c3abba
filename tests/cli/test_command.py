import errno
import importlib
import io
import os
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import (
    DIGITS,
    MINIMAL,
    TIMEOUT_SECONDS,
    CallCommand,
    Outcome,
    RunCommand,
    write_fake_mnist,
)
from vae_lightning import __version__
from vae_lightning.cli.command import run as run_command_line
from vae_lightning.cli.error_messages import quoted
from vae_lightning.config import compose, instantiate, to_container
from vae_lightning.errors import DataError, UserError

CallTrain = Callable[..., Outcome]


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were asked for; each refuses."""
    asked: list[str] = []

    def refuse(request: Any, *args: Any, **kwargs: Any) -> None:
        asked.append(str(getattr(request, "full_url", request)))
        if len(asked) > 12:
            pytest.fail("the same file is asked for again and again")
        raise OSError("refused")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return asked


@pytest.fixture
def run_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, list[dict[str, Any]]]]:
    """Runs a command whose task only notes its configurations; returns the exit status and them.

    Images are asked for only where the data set is named.
    """
    monkeypatch.chdir(tmp_path)

    def run(
        *args: str,
        check: Callable[[Any], Any] = lambda config: None,
        task: Callable[[Any], None] = lambda config: None,
    ) -> tuple[int, list[dict[str, Any]]]:
        monkeypatch.setattr(sys, "argv", ["train", *args])
        jobs: list[dict[str, Any]] = []

        def prepare(config: dict[str, Any]) -> dict[str, Any]:
            check(config)
            return config

        def fetch(config: dict[str, Any]) -> None:
            if any("data=" in argument for argument in args):
                instantiate(config["data"], "data").prepare_data()

        def noting(config: dict[str, Any]) -> None:
            jobs.append(config)
            task(config)

        try:
            run_command_line("train", prepare=prepare, task=noting, fetch=fetch)
        except SystemExit as stop:
            return (stop.code if isinstance(stop.code, int) else 1), jobs
        return 0, jobs

    return run


def assert_only_started(out: str) -> None:
    """Check that a command has printed its first lines only; the second one comes if it is slow."""
    first = {f"vae_lightning {__version__} train", "loading torch and Lightning ..."}
    assert set(out.splitlines()) <= first


def assert_one_line(err: str, *parts: str) -> None:
    assert len(err.splitlines()) == 1, err
    assert err.startswith("error: ")
    for part in parts:
        assert part in err


no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")

# What was typed, and what the line has to say.
MISTAKES = [
    # a key
    (["model.latent_dmi=3"], ["latent_dmi", "did you mean latent_dim?"]),
    (["trainer.max_epoch=3"], ["max_epoch", "did you mean max_epochs?"]),
    (["dta=mnist"], ["dta", "did you mean data=mnist?"]),
    (["sede=1"], ["sede", "did you mean seed?"]),
    (["+model.encoder.hiden=[3]"], ["model.encoder.hiden", "did you mean hidden?"]),
    (["+sede=1"], ["sede", "seed"]),
    (["~seed"], ["seed"]),
    (["~objective"], ["objective cannot be left out"]),
    (["~ckpt_path"], ["ckpt_path cannot be left out"]),
    (["--help", "model.latent_dmi=3"], ["latent_dmi", "did you mean latent_dim?"]),
    (["--cfg", "job", "model.latent_dim=2,3"], ["model.latent_dim", "add -m"]),
    # a group or an option of it
    (["mode=samples"], ["mode is an option of generate"]),
    (["device=cpu"], ["device is not a key of train", "trainer=cpu"]),
    (
        ["model=vector_quantized", "model/posterior=flow"],
        ["model/posterior is not a part of model=vector_quantized"],
    ),
    (
        ["callbacks.early_stopping.patience=3"],
        ["a key of callbacks=[default,early_stopping]: choose"],
    ),
    (["callbacks.checkpoint.every=3"], ["every is not a key of callbacks.checkpoint"]),
    (["data=mnits"], ["data=mnits", "did you mean mnist?"]),
    (["model/encoder=mpl"], ["model/encoder=mpl", "did you mean mlp?"]),
    (["model/encodr=mlp"], ["model/encodr"]),
    (["experiment=seed_latent21"], ["experiment=seed_latent21", "did you mean seed_latent2"]),
    (["seed=1", "scheduler=null"], ["error: scheduler=null", "constant, cosine, linear"]),
    (["seed=1", "model/encoder=2"], ["error: model/encoder=2", "mlp"]),
    (["data_fallback=digts"], ["digts", "did you mean digits?"]),
    # a type
    (["model.latent_dim=three"], ["model.latent_dim=three should be a whole number"]),
    (["model.encoder.hidden=400"], ["model.encoder.hidden=400 should be a list"]),
    (["data.batch_size=null"], ["data.batch_size=None should be a whole number"]),
    (["data.binarize=dynamical"], ["data.binarize=dynamical should be one of none, threshold"]),
    (["trainer.max_epochs=ten"], ["trainer.max_epochs=ten should be a whole number"]),
    (["seed=one"], ["seed=one should be a whole number"]),
    (["tags=a"], ["tags=a should be a list"]),
    (["train=maybe"], ["train=maybe should be true or false"]),
    # a value
    (["model.latent_dim=0"], ["model.latent_dim=0 is out of range"]),
    (["data.batch_size=-1"], ["data.batch_size=-1 is out of range"]),
    (["data.val_size=60000"], ["data.val_size=60000", "MNIST has 60000 images"]),
    (["objective.beta=-1"], ["objective.beta=-1 is out of range"]),
    (["objective.num_samples=0"], ["objective.num_samples=0 is out of range"]),
    (["optimizer.lr=nan"], ["optimizer", "nan"]),
    (["seed=-1"], ["seed=-1 is out of range"]),
    (["trainer.max_epochs=-5"], ["trainer", "max_epochs"]),
    (["trainer.log_every_n_steps=0"], ["log_every_n_steps"]),
    (["callbacks.checkpoint.monitor=val/elbow"], ["callbacks.checkpoint.monitor", "val/elbow"]),
    (["callbacks.pictures.drawings.samples.count=0"], ["drawings.samples.count=0"]),
    (["trainer.accelerator=gup"], ["trainer.accelerator=gup", "did you mean gpu?"]),
    *(
        pytest.param(
            [f"{key}={kind}"],
            [f"trainer.accelerator={kind} is not available", "finds cpu", "trainer=cpu", "=auto"],
            marks=no_gpu,
        )
        for key in ("trainer", "trainer.accelerator")
        for kind in ("gpu", "mps")
    ),
    # options that do not fit together
    (
        ["data.size=14", "model.image_shape=[1,28,28]"],
        ["model.image_shape=[1, 28, 28]", "data.size=14", "[1, 14, 14]"],
    ),
    (["data.channels=3"], ["data.channels=3", "MNIST images have 1"]),
    (["data.val_size=0"], ["callbacks.checkpoint.monitor", "data.val_size=0"]),
    (["train=false"], ["ckpt_path"]),
    (["ckpt_path=nowhere.ckpt"], ["nowhere.ckpt does not exist"]),
    (["task_name=../../x"], ["task_name=../../x leads out of paths.output_dir"]),
    (["data.name=a/../../b"], ["data.name=a/../../b is part of file names"]),
    (["data.size=[8]"], ["data.size=[8] must be one number, or a height and a width"]),
    (["paths.output_dir='~/there'"], ["would be a folder named ~: write /"]),
    # a way of writing
    (["model.latent_dim=2,3"], ["model.latent_dim", "add -m"]),
    (["--latent-dim=3"], ["--latent-dim=3", "key=value"]),
    (["model.latent_dim"], ["model.latent_dim"]),
    (["task_name=${nothing}"], ["nothing"]),
    (
        ["seed=1", "model.latent_dim=2=3"],
        ["error: model.latent_dim=2=3", "'model.latent_dim=\"2=3\"'"],
    ),
    (["seed=1", "tags=[a"], ["error: tags=[a", "'tags=\"[a\"'"]),
    (["seed=1", "tags=[a,b]]"], ["error: tags=[a,b]]"]),
    (["seed=1", "task_name='a"], ["error: task_name='a"]),
    (["seed=1", "data.root=/home/müller"], ["error: data.root=/home/müller", '"/home/müller"']),
    (["seed=1", "seed=foo(3)"], ["error: seed=foo(3)", "Unknown function"]),
    (["task_name=my", "runs"], ["error: runs", "key=value", "'task_name=my runs'"]),
    (["seed=1", "=3"], ["error: =3", "key=value"]),
    (["-m", "model.latent_dim=2,3", "tags=[a"], ["error: tags=[a"]),
    # a job of a sweep
    (["-m", "model.latent_dim=2,0"], ["model.latent_dim=0 is out of range"]),
    (["-m", "model.latent_dim=2,3", "data=digits,mnits"], ["data=mnits"]),
    (["-m", "seed=0,1", "model.latent_dmi=2,3"], ["latent_dmi"]),
    (["-m", "model.latent_dim=interval(2,3)"], ["model.latent_dim"]),
    (["callbacks.pictures=5"], ["callbacks.pictures=5", "null to do without"]),
    (
        ["-m", "model/prior=mixture,vamp", "model.prior.num_components=4"],
        ["model.prior.num_components: not all swept", "write ++model.prior.num_components=4"],
    ),
    (
        ["trainer.limit_train_batches=2"],
        ["limit_train_batches is not set in train", "as in +trainer.limit_train_batches="],
    ),
    (["optimizer.zzz=2"], ["zzz is not a key of optimizer: there are: betas, eps, fused"]),
    (["-m", "hparams_search=latent_dim", "objective.beta=-1"], ["objective.beta=-1"]),
    (["hparams_search=latent_dim"], ["model.latent_dim has several values", "add -m"]),
]


@pytest.mark.parametrize(
    ("arguments", "parts"), MISTAKES, ids=lambda value: " ".join(value) if value else ""
)
def test_a_mistake_is_told_in_one_line_before_anything_is_written_or_fetched(
    call_train: CallTrain,
    tmp_path: Path,
    downloads: list[str],
    arguments: list[str],
    parts: list[str],
) -> None:
    outcome = call_train(*arguments)
    assert_one_line(outcome.err, *parts)
    assert outcome.status == 1
    assert_only_started(outcome.out)
    assert downloads == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["data=mnits"], "did you mean mnist?"),
        (["-m", "model.latent_dim=2,0"], "model.latent_dim=0 is out of range"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_and_status_1(
    run_command: RunCommand, tmp_path: Path, arguments: list[str], part: str
) -> None:
    process = run_command(*arguments)
    assert process.returncode == 1
    assert_one_line(process.stderr, part)
    assert_only_started(process.stdout)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["evaluate", "generate", "detect", "export"])
def test_what_a_checkpoint_was_trained_with_is_not_chosen_again(
    call_command: CallCommand, name: str
) -> None:
    for override in ("data=digits", "model=conditional", "model.latent_dim=3", "model/prior=vamp"):
        outcome = call_command("ckpt_path=x", override, command=name)
        said = f" is an option of train: {name} uses what the checkpoint was trained with"
        assert_one_line(outcome.err, said)
        assert outcome.status == 1


@pytest.mark.parametrize(
    ("name", "override", "said"),
    [
        ("evaluate", "trainer=cpu", "evaluate: set device instead, as in device=cpu"),
        ("generate", "trainer=cpu", "generate: set device instead, as in device=cpu"),
        ("detect", "trainer.devices=2", "set device instead, as in device=cpu"),
        ("export", "trainer=cpu", "trainer is an option of train: export uses"),
        ("detect", "mode=samples", "mode is an option of generate"),
    ],
)
def test_an_option_of_another_command_is_named_as_such(
    call_command: CallCommand, name: str, override: str, said: str
) -> None:
    assert_one_line(call_command("ckpt_path=x", override, command=name).err, said)


@pytest.mark.parametrize(
    ("name", "groups"),
    [("generate", {"mode", "paths"}), ("evaluate", {"paths"}), ("export", {"paths"})],
)
def test_help_lists_the_groups_that_a_command_takes(
    call_command: CallCommand, name: str, groups: set[str]
) -> None:
    listed = call_command("--help", command=name).out.split("\n\n")[3]
    lines = [line.strip().split() for line in listed.splitlines() if line[2] != " "]
    assert {line[0] for line in lines} == groups


@pytest.mark.parametrize("when", ["check", "task"])
def test_ctrl_c_is_one_word_and_the_status_of_an_interrupt(
    run_jobs: Any, capsys: pytest.CaptureFixture[str], when: str
) -> None:
    def interrupted(config: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    status, _ = run_jobs("data=digits", **{when: interrupted})
    assert status == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_ctrl_c_in_a_sweep_lists_the_jobs_that_were_not_started(
    run_jobs: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(config: dict[str, Any]) -> None:
        if config["seed"] == 1:
            raise KeyboardInterrupt

    options = ("data=digits", "trainer=cpu", "model.latent_dim=2,3", "seed=0,1")
    status, _ = run_jobs("-m", *options, task=interrupted)
    assert status == 130
    assert capsys.readouterr().err == (
        "interrupted\n2 jobs were not started:\n  latent_dim=3 seed=0\n  latent_dim=3 seed=1\n"
    )


def test_a_terminal_that_lacks_a_character_shows_a_question_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="cp932"))
    monkeypatch.setattr(sys, "argv", ["train", *DIGITS, *MINIMAL, "trainer.max_epochs=1"])
    importlib.import_module("vae_lightning.train").main()
    shown = written.getvalue().decode("cp932")
    assert "360 test images ? " in shown
    assert "test elbo" in shown


def test_an_interrupt_that_lightning_makes_an_end_of_is_one_still(
    run_jobs: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def ended(config: dict[str, Any]) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    status, _ = run_jobs("data=digits", task=ended)
    assert status == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("sweep", [[], ["-m", "seed=0,1"]])
def test_data_that_cannot_be_had_leave_no_run_behind(
    call_train: CallTrain, tmp_path: Path, downloads: list[str], sweep: list[str]
) -> None:
    outcome = call_train("data=mnist", f"data.root={tmp_path}/data", *sweep)
    assert outcome.status == 1
    assert_only_started(outcome.out)
    assert_one_line(outcome.err, "MNIST")
    assert downloads != []
    assert not (tmp_path / "outputs").exists()


def test_help_of_which_a_reader_wants_no_more_ends_quietly(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    line = [sys.executable, "-m", "vae_lightning.train", "--help"]
    process = subprocess.run(
        line, cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, timeout=TIMEOUT_SECONDS
    )
    os.close(writing)
    assert process.stderr == b""


def test_help_on_a_sweep_shows_what_its_jobs_have_in_common(call_train: CallTrain) -> None:
    for flags in ([], ["-m"]):
        outcome = call_train("--help", *flags, "seed=7", "model.latent_dim=2,3")
        assert (outcome.status, outcome.err) == (0, "")
        assert "  seed=7 " in outcome.out


@pytest.mark.parametrize("flag", [["--cfg", "job"], ["--info"]])
def test_showing_a_configuration_and_sweeping_are_not_done_at_once(
    call_train: CallTrain, flag: list[str]
) -> None:
    outcome = call_train(*flag, "-m", "seed=0,1")
    assert_one_line(outcome.err, "leave out -m")
    assert (outcome.status, outcome.out) == (1, "")


def test_the_traceback_is_shown_to_who_asks_for_it(
    call_train: CallTrain, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Traceback" not in call_train("model.latent_dim=0").err
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    outcome = call_train("model.latent_dim=0")
    assert outcome.status == 1
    assert "Traceback" in outcome.err
    assert "model.latent_dim=0 is out of range" in outcome.err


def test_of_several_settings_the_one_that_is_wrong_is_named(call_train: CallTrain) -> None:
    outcome = call_train("model.latent_dim=3", "data.size=28", "model.latent_dmi=3")
    assert_one_line(outcome.err, "latent_dmi")
    assert "data.size" not in outcome.err


@pytest.mark.parametrize(
    "text",
    ["a=b", "a b, c", "[a", "it's", 'a "b"', "back\\", "${x}", "müller", "{a: b}", "~/a", "3"],
)
def test_a_text_in_quotes_arrives_as_it_was_written(text: str) -> None:
    config = to_container(compose("train", [f"task_name={quoted(text)}", "paths.run_dir=unused"]))
    assert str(config["task_name"]) == text


def test_the_way_to_write_a_text_that_an_error_shows_works(call_train: CallTrain) -> None:
    shown = call_train("task_name=a=b").err.rpartition("is written ")[2]
    (override,) = shlex.split(shown)
    config = to_container(compose("train", [override, "paths.run_dir=unused"]))
    assert config["task_name"] == "a=b"


# -- disks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["paths.output_dir", "hydra.run.dir", "hydra.sweep.dir"])
@pytest.mark.parametrize("place", ["/proc/nope", "notes.txt/below"])
def test_a_folder_that_cannot_be_made_is_told_before_anything_is_fetched(
    call_train: CallTrain, tmp_path: Path, downloads: list[str], key: str, place: str
) -> None:
    (tmp_path / "notes.txt").touch()
    sweep = ["-m", "seed=0,1"] if "sweep" in key else []
    outcome = call_train("data=mnist_or_digits", f"{key}={place}", *sweep)
    assert_one_line(outcome.err, f"the folder {place}", "cannot be created", "paths.output_dir")
    assert outcome.status == 1
    assert_only_started(outcome.out)
    assert downloads == []
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_full_disk_is_one_line_that_names_the_file_and_the_run(
    run_jobs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fill(config: dict[str, Any]) -> None:
        names: dict[int, list[Any]] = {0: [], 1: ["a.png"], 2: ["/tmp/x", None, "last.ckpt"]}
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *names[config["seed"]])

    status, jobs = run_jobs("-m", "seed=0,1,2", task=fill)
    assert status == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(jobs) == len(lines) == 3
    for job, line, name in zip(jobs, lines, ("", "a.png", "last.ckpt"), strict=True):
        folder = job["paths"]["run_dir"]
        assert line.startswith(f"error: {name or folder} ")
        assert "No space left" in line
        assert "paths.output_dir" in line
        assert folder in line


def test_an_error_of_the_system_that_is_a_mistake_of_the_program_keeps_its_traceback(
    run_jobs: Any,
) -> None:
    def stumble(config: dict[str, Any]) -> None:
        raise FileNotFoundError(errno.ENOENT, "no such file", "picture.png")

    with pytest.raises(FileNotFoundError):
        run_jobs(task=stumble)


# -- jobs -----------------------------------------------------------------------------------------


def test_a_sweep_does_not_keep_what_was_built_to_check_its_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Built:
        alive = 0
        most = 0

        def __init__(self, config: dict[str, Any]) -> None:
            Built.alive += 1
            Built.most = max(Built.most, Built.alive)

        def __del__(self) -> None:
            Built.alive -= 1

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train", "-m", "seed=0,1,2,3"])
    run_command_line("train", prepare=Built, task=lambda built: None)
    assert Built.most <= 2  # one, and the one before it


def test_every_job_is_checked_before_the_first_one_starts(run_jobs: Any) -> None:
    def refuse_three(config: dict[str, Any]) -> None:
        if config["model"]["latent_dim"] == 3:
            raise UserError("not three")

    assert run_jobs("-m", "model.latent_dim=1,2,3", check=refuse_three) == (1, [])
    status, jobs = run_jobs("-m", "model.latent_dim=1,2", check=refuse_three)
    assert (status, len(jobs)) == (0, 2)


def test_a_sweep_runs_a_job_for_each_combination(run_jobs: Any) -> None:
    status, jobs = run_jobs("-m", "model.latent_dim=range(2,4)", "seed=0,1")
    combinations = [(job["model"]["latent_dim"], job["seed"]) for job in jobs]
    assert combinations == [(dim, seed) for dim in (2, 3) for seed in (0, 1)]
    assert status == 0


def test_a_sweep_over_all_options_of_a_group_runs_each(run_jobs: Any) -> None:
    status, jobs = run_jobs("-m", "model/likelihood=glob(*)")
    targets = {job["model"]["likelihood"]["_target_"].rpartition(".")[2] for job in jobs}
    assert targets >= {"Bernoulli", "Normal"}
    assert status == 0


def test_a_search_file_says_what_is_swept_over(run_jobs: Any) -> None:
    _, jobs = run_jobs("-m", "hparams_search=latent_dim")
    assert [job["model"]["latent_dim"] for job in jobs] == [2, 5, 10, 20, 50]


def test_a_sweep_goes_on_after_a_job_that_failed_and_says_so_at_the_end(
    run_jobs: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail_at_one(config: dict[str, Any]) -> None:
        if config["seed"] == 1:
            raise DataError("the disk is gone")

    status, jobs = run_jobs("-m", "seed=0,1,2", task=fail_at_one)
    assert [job["seed"] for job in jobs] == [0, 1, 2]
    assert status == 1
    assert_one_line(capsys.readouterr().err, "the disk is gone")


# -- other data where the chosen one cannot be had ------------------------------------------------


def test_the_fallback_is_taken_with_a_warning_that_names_it(
    run_jobs: Any, downloads: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    status, jobs = run_jobs("data=mnist_or_digits")
    assert [job["data"]["name"] for job in jobs] == ["digits"]
    assert status == 0
    assert downloads
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: data=digits instead of mnist: ")


def test_a_fallback_that_is_not_needed_is_not_taken(
    run_jobs: Any, tmp_path: Path, downloads: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write_fake_mnist(tmp_path / "files")
    _, jobs = run_jobs("data=mnist_or_digits", f"data.root={tmp_path / 'files'}")
    assert [job["data"]["name"] for job in jobs] == ["mnist"]
    assert downloads == []
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("downloads")
def test_each_data_set_of_a_sweep_falls_back_by_itself(run_jobs: Any) -> None:
    for names in ("mnist,fashion_mnist", "digits,mnist", "kmnist,mnist"):
        status, jobs = run_jobs("-m", f"data={names}", "data_fallback=digits")
        assert [job["data"]["name"] for job in jobs] == ["digits", "digits"]
        assert status == 0


@pytest.mark.usefixtures("downloads")
def test_a_fallback_that_cannot_be_had_either_is_an_error(
    run_jobs: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _ = run_jobs("data=kmnist", "data_fallback=fashion_mnist")
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert status == 1
    assert len(errors) == 1
    assert "Fashion-MNIST" in errors[0]
