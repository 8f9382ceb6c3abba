import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

import vae_lightning
from conftest import FinishedRun
from vae_lightning.checkpoint import Checkpoint
from vae_lightning.config import compose, instantiate, to_container
from vae_lightning.errors import CheckpointError
from vae_lightning.models import VAE

PLAIN = (str, int, float, bool, type(None), torch.Tensor)


@pytest.fixture
def checkpoint(finished_run: FinishedRun) -> Path:
    return finished_run.folder / "checkpoints" / "last.ckpt"


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def small_config(*choices: str, **model: Any) -> dict[str, Any]:
    options = ["data=digits", "paths.run_dir=unused", *choices]
    options += [f"model.{part}.hidden=[4]" for part in ("encoder", "decoder")]
    options += [f"model.{key}={value}" for key, value in model.items()]
    return to_container(compose("train", options))


def write(path: Path, config: Any, model: VAE | None = None) -> Path:
    """A checkpoint with the keys of the project's own."""
    weights = model.state_dict() if model else {}
    state = {f"model.{name}": value for name, value in weights.items()}
    torch.save({"config": config, "state_dict": state}, path)
    return path


# -- what it holds --------------------------------------------------------------------------------


def assert_plain(value: Any, path: str) -> None:
    if type(value) in (dict, OrderedDict):
        for key, item in value.items():
            assert type(key) in (str, int), path
            assert_plain(item, f"{path}.{key}")
    elif type(value) in (list, tuple):
        for place, item in enumerate(value):
            assert_plain(item, f"{path}[{place}]")
    else:
        assert type(value) in PLAIN, f"{path} is {type(value)}"


@pytest.mark.parametrize("name", ["best.ckpt", "last.ckpt"])
def test_a_checkpoint_holds_tensors_and_plain_containers_and_the_configuration(
    finished_run: FinishedRun, name: str
) -> None:
    path = finished_run.folder / "checkpoints" / name
    content = torch.load(path, weights_only=True)
    assert_plain(content, name)
    config = content["config"]
    assert config["data"]["name"] == "digits"
    assert config["model"]["latent_dim"] == 20
    # Resolved: a reader needs neither this machine's environment nor the files of conf/.
    assert config["model"]["image_shape"] == [1, 28, 28]
    assert "${" not in str(config)


# -- loading --------------------------------------------------------------------------------------


def test_a_file_and_its_run_s_folder_load_the_same_trained_model(
    finished_run: FinishedRun, images: torch.Tensor
) -> None:
    best = finished_run.folder / "checkpoints" / "best.ckpt"
    models = [vae_lightning.load(path) for path in (best, str(best), finished_run.folder)]
    stored = torch.load(best, weights_only=True)["state_dict"]
    for model in models:
        assert not model.training
        for name, weight in model.state_dict().items():
            assert torch.equal(weight, stored[f"model.{name}"])
        assert torch.equal(model.reconstruct(images), models[0].reconstruct(images))


def test_a_model_is_rebuilt_with_the_sizes_and_options_it_was_trained_with(
    tmp_path: Path, images: torch.Tensor
) -> None:
    options = {"latent_dim": 3, "encoder.input_range": "[-1,1]", "encoder.activation": "tanh"}
    config = small_config(**options)
    model: VAE = instantiate(config["model"], "model")
    loaded = vae_lightning.load(write(tmp_path / "a.ckpt", config, model))
    assert loaded.latent_dim == 3
    assert torch.equal(loaded.reconstruct(images), model.reconstruct(images))


def test_a_checkpoint_of_before_an_option_came_is_the_model_that_it_was(
    tmp_path: Path, images: torch.Tensor
) -> None:
    config = small_config("model/posterior=flow")
    model = instantiate(config["model"], "model").eval()
    for part in ("encoder", "decoder"):
        assert config["model"][part].pop("batch_norm") is False
    assert config["model"]["posterior"].pop("passes", "there is none") is None
    path = write(tmp_path / "old.ckpt", config, model)
    assert torch.equal(vae_lightning.load(path).reconstruct(images), model.reconstruct(images))
    Checkpoint(path).check_same_model(small_config("model/posterior=flow")["model"])
    normalised = small_config("model/posterior=flow", **{"encoder.batch_norm": True})
    with pytest.raises(CheckpointError, match=r"with model\.encoder\.batch_norm=False, not True$"):
        Checkpoint(path).check_same_model(normalised["model"])


def test_the_best_checkpoint_of_a_folder_is_preferred_to_the_last(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name, latent_dim in (("last.ckpt", 5), ("best.ckpt", 4)):
        config = small_config(latent_dim=latent_dim)
        write(folder / name, config, instantiate(config["model"], "model"))
    assert vae_lightning.load(tmp_path).latent_dim == 4
    (folder / "best.ckpt").unlink()
    assert vae_lightning.load(tmp_path).latent_dim == 5


# -- refusing -------------------------------------------------------------------------------------


def assert_refused(path: Path, *parts: str) -> None:
    with pytest.raises(CheckpointError) as error:
        vae_lightning.load(path)
    message = str(error.value)
    assert len(message.splitlines()) == 1
    for part in (str(path), *parts):
        assert part in message


def test_a_path_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "nothing.ckpt", "does not exist")


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path, "holds no checkpoint")


@pytest.mark.parametrize("content", [b"", b"epoch: 3\n", b"\x80\x02}q\x00.", b"PK\x03\x04"])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.ckpt"
    path.write_bytes(content)
    assert_refused(path)


@pytest.mark.parametrize("part", [0.01, 0.5, 0.999])
def test_a_checkpoint_that_is_cut_short_is_refused(
    tmp_path: Path, checkpoint: Path, part: float
) -> None:
    content = checkpoint.read_bytes()
    path = tmp_path / "cut.ckpt"
    path.write_bytes(content[: int(part * len(content))])
    assert_refused(path, "cut short")


FOREIGN = [
    torch.zeros(3),
    {"weight": torch.zeros(3)},
    {"state_dict": {}},
    {"state_dict": {}, "config": "resnet"},
    {"state_dict": {}, "config": {"hidden": 3}},
    {"state_dict": {}, "config": {"model": "resnet"}},
    {"state_dict": {}, "config": {"model": {"hidden": 3}}},
    {"state_dict": [], "config": {"model": {}}},
]


@pytest.mark.parametrize("content", FOREIGN, ids=str)
def test_a_file_of_another_project_is_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "foreign.ckpt"
    torch.save(content, path)
    assert_refused(path)


@pytest.mark.parametrize("content", FOREIGN, ids=str)
def test_training_does_not_go_on_from_a_file_of_another_project(
    tmp_path: Path, content: Any
) -> None:
    path = tmp_path / "foreign.ckpt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=re.escape(str(path))):
        Checkpoint(path).check_same_model(small_config()["model"])


def test_a_configuration_that_describes_no_vae_is_refused(tmp_path: Path) -> None:
    node = {"_target_": "vae_lightning.objectives.ELBO", "num_samples": 1, "beta": 1.0}
    assert_refused(write(tmp_path / "a.ckpt", {"model": node}))


def test_weights_that_do_not_fit_their_configuration_are_refused(tmp_path: Path) -> None:
    model: VAE = instantiate(small_config(latent_dim=3)["model"], "model")
    assert_refused(write(tmp_path / "a.ckpt", small_config(latent_dim=4), model))


# -- running nothing ------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["os.system", "subprocess.getoutput", "pathlib.Path.touch"])
@pytest.mark.parametrize("place", ["model", "encoder"])
def test_a_target_outside_the_allow_list_is_refused_and_not_run(
    tmp_path: Path, target: str, place: str
) -> None:
    mark = tmp_path / "was_run"
    key = {"os.system": "command", "subprocess.getoutput": "cmd"}.get(target, "self")
    harm = {"_target_": target, key: f"touch {mark}"}
    config = small_config()
    if place == "model":
        config["model"] = harm
    else:
        config["model"]["encoder"] = harm
    assert_refused(write(tmp_path / "a.ckpt", config), target)
    assert not mark.exists()


class Harm:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_a_pickled_object_in_a_checkpoint_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "was_run"
    pickle.loads(pickle.dumps(Harm(mark)))
    assert mark.exists(), "the object would do no harm"
    mark.unlink()
    for content in (Harm(mark), {"config": Harm(mark), "state_dict": {}}):
        path = tmp_path / "harm.ckpt"
        torch.save(content, path)
        assert_refused(path)
        assert not mark.exists()


# -- going on from one ----------------------------------------------------------------------------


def test_a_checkpoint_of_the_same_model_is_accepted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ckpt", small_config(latent_dim=3))
    Checkpoint(path).check_same_model(small_config(latent_dim=3)["model"])


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("latent_dim", 4, "model.latent_dim=3, not 4"),
        ("decoder.hidden", "[5]", "model.decoder.hidden=[4], not [5]"),
        ("decoder.activation", "tanh", "model.decoder.activation=relu, not tanh"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused_by_the_key_that_differs(
    tmp_path: Path, key: str, value: Any, told: str
) -> None:
    path = write(tmp_path / "a.ckpt", small_config(latent_dim=3))
    with pytest.raises(CheckpointError) as error:
        Checkpoint(path).check_same_model(small_config(**{"latent_dim": 3, key: value})["model"])
    assert told in str(error.value)
    assert str(path) in str(error.value)
