"""CIFAR-10, SVHN, EMNIST, OMNIGLOT and CelebA: small files in their formats, read as the real ones.

torchvision's table of checksums is replaced by that of the small files: no check is switched off.
"""

import gzip
import hashlib
import io
import os
import pickle
import struct
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
import torchvision
from PIL import Image

from conftest import CallCommand, idx_bytes, read_metrics
from tiny import options
from vae_lightning.config import compose, instantiate, to_container
from vae_lightning.data import ImageDataModule
from vae_lightning.data.celeba import CelebA
from vae_lightning.data.characters import _FACTS, EMNIST, Omniglot
from vae_lightning.data.colour_sources import CIFAR10, SVHN
from vae_lightning.data.downloading import matches
from vae_lightning.data.sources import ImageSource
from vae_lightning.errors import DataError

KNOWN = ("cifar10", "svhn", "emnist", "omniglot", "celeba")


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def random_bytes(*shape: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def module_of(name: str, root: Path, *overrides: str) -> ImageDataModule:
    """The data module of an option of `data`, set up."""
    line = [f"data={name}", f"data.root={root}", "paths.run_dir=unused", *overrides]
    module: ImageDataModule = instantiate(to_container(compose("train", line).data), "data")
    module.prepare_data()
    module.setup("fit")
    return module


# -- CIFAR-10 -------------------------------------------------------------------------------------


def pickled(value: Any) -> bytes:
    """Text is written as Python 2 wrote it, as in the files of CIFAR-10."""

    def save_text(pickler: Any, text: str | bytes) -> None:
        content = text.encode() if isinstance(text, str) else text
        pickler.write(b"T" + struct.pack("<i", len(content)) + content)
        pickler.memoize(text)

    buffer = io.BytesIO()
    pickler: Any = pickle._Pickler(buffer, protocol=2)
    pickler.dispatch = {**pickler.dispatch, str: save_text, bytes: save_text}
    pickler.dump(value)
    return buffer.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def write_cifar10(
    root: Path, monkeypatch: pytest.MonkeyPatch, *, packed: bool = False, count: int = 4
) -> Mapping[str, np.ndarray[Any, Any]]:
    """Six batches of `count` images. Returns the pixels, (N, 3072), by file."""
    cifar = torchvision.datasets.CIFAR10
    batches, contents = {}, {}
    for number, (name, _) in enumerate([*cifar.train_list, *cifar.test_list]):
        batches[name] = random_bytes(count, 3072, seed=number)
        labels = [(number + image) % 10 for image in range(count)]
        contents[name] = pickled({"batch_label": name, "labels": labels, "data": batches[name]})
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as file:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"{cifar.base_folder}/{name}")
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    if packed:
        (root / cifar.filename).write_bytes(archive.getvalue())
    else:
        (root / cifar.base_folder).mkdir()
        for name, content in contents.items():
            (root / cifar.base_folder / name).write_bytes(content)
    monkeypatch.setattr(cifar, "tgz_md5", md5(archive.getvalue()))
    for key in ("train_list", "test_list"):
        table = [[name, md5(contents[name])] for name, _ in getattr(cifar, key)]
        monkeypatch.setattr(cifar, key, table)
    return batches


@pytest.mark.parametrize("packed", [True, False])
def test_cifar10_is_read_from_its_batches_packed_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    batches = write_cifar10(tmp_path, monkeypatch, packed=packed)
    CIFAR10().fetch(tmp_path)
    images, labels = CIFAR10().load(tmp_path, train=True)
    assert (images.shape, images.dtype, labels.shape) == ((20, 3, 32, 32), torch.uint8, (20,))
    # Red, green and blue follow each other, row by row.
    assert images[0, 1, 0, :].tolist() == batches["data_batch_1"][0, 1024:1056].tolist()
    assert labels[:6].tolist() == [0, 1, 2, 3, 1, 2]
    images, labels = CIFAR10().load(tmp_path, train=False)
    assert images.flatten(1).tolist() == batches["test_batch"].tolist()
    assert labels.tolist() == [5, 6, 7, 8]


def test_a_batch_of_another_checksum_is_not_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cifar10(tmp_path, monkeypatch)
    file = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"data_batch_3 fails its checksum: delete it") as error:
        CIFAR10().load(tmp_path, train=True)
    assert len(str(error.value).splitlines()) == 1


class _Harmful:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, ("touch harmed",)


def test_a_batch_that_asks_for_code_is_refused_even_with_the_right_checksum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_cifar10(tmp_path, monkeypatch)
    content = pickled({"data": _Harmful(), "labels": []})
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(content)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "test_list", [["test_batch", md5(content)]])
    with pytest.raises(DataError, match=r"batch of CIFAR-10: it asks for posix\.system"):
        CIFAR10().load(tmp_path, train=False)
    assert not Path("harmed").exists()


# -- SVHN -----------------------------------------------------------------------------------------


def matlab(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, arrays)
    return buffer.getvalue()


def write_svhn(root: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray[Any, Any]:
    """Ten training and four test images. Returns the training images, (32, 32, 3, N)."""
    images = random_bytes(32, 32, 3, 10)
    contents = {
        "train": matlab(X=images, y=np.arange(1, 11, dtype=np.uint8)[:, None]),
        "test": matlab(X=images[..., :4], y=np.full((4, 1), 10, np.uint8)),
    }
    (root / "SVHN").mkdir()
    table = {}
    for split, content in contents.items():
        address, name, _ = torchvision.datasets.SVHN.split_list[split]
        (root / "SVHN" / name).write_bytes(content)
        table[split] = [address, name, md5(content)]
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", table)
    return images


def test_svhn_is_read_upright_with_the_digit_0_as_class_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = write_svhn(tmp_path, monkeypatch)
    SVHN().fetch(tmp_path)
    images, labels = SVHN().load(tmp_path, train=True)
    assert torch.equal(images[3], torch.from_numpy(given[..., 3]).permute(2, 0, 1))
    assert labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    assert SVHN().load(tmp_path, train=False)[1].tolist() == [0, 0, 0, 0]


# -- EMNIST ---------------------------------------------------------------------------------------


def write_emnist(root: Path, monkeypatch: pytest.MonkeyPatch, split: str, first: int) -> Any:
    """A zip of three images of a split. Returns them upright, (3, 28, 28)."""
    images = random_bytes(3, 28, 28)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for part in ("train", "test"):
            start = f"gzip/emnist-{split}-{part}"
            transposed = images.transpose(0, 2, 1).tobytes()
            for name, content in {
                f"{start}-images-idx3-ubyte.gz": idx_bytes(transposed, 3, 28, 28),
                f"{start}-labels-idx1-ubyte.gz": idx_bytes(bytes([first, first, first + 2]), 3),
            }.items():
                archive.writestr(name, gzip.compress(content))
    (root / "EMNIST" / "raw").mkdir(parents=True)
    (root / "EMNIST" / "raw" / "gzip.zip").write_bytes(buffer.getvalue())
    monkeypatch.setattr(torchvision.datasets.EMNIST, "md5", md5(buffer.getvalue()))
    return images


@pytest.mark.parametrize(("split", "first"), [("letters", 1), ("balanced", 0)])
def test_emnist_is_unpacked_upright_and_its_labels_start_at_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: Any, first: int
) -> None:
    given = write_emnist(tmp_path, monkeypatch, split, first)
    source = EMNIST(split)
    assert source.files(tmp_path) is None
    source.fetch(tmp_path)
    assert len(source.files(tmp_path) or []) == 4
    for train in (True, False):
        images, labels = source.load(tmp_path, train)
        assert images.squeeze(1).tolist() == given.tolist()
        assert labels.tolist() == [0, 0, 2]
    with pytest.raises(DataError, match=r"gzip\.zip holds no emnist-digits-train-images"):
        EMNIST("digits").fetch(tmp_path)


@pytest.mark.parametrize("split", sorted(_FACTS))
def test_the_classes_of_emnist_are_those_of_torchvision(split: Any) -> None:
    expected = torchvision.datasets.EMNIST.classes_split_dict[split]
    assert list(EMNIST(split).class_names) == [name for name in expected if name != "N/A"]


# -- OMNIGLOT -------------------------------------------------------------------------------------


def write_omniglot(root: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray[Any, Any]:
    """A `chardata.mat` of 5 training and 3 test images. Returns the first, (5, 28, 28)."""
    images = random_bytes(5, 28, 28)
    # Images are columns, and each is stored column by column.
    columns = images.transpose(0, 2, 1).reshape(5, 784).T / 255
    content = matlab(
        data=columns, testdata=columns[:, :3], target=np.eye(50)[:, [4, 0, 49, 7, 7]],
        testtarget=np.eye(50)[:, :3], targetchar=np.ones((1, 5)), testtargetchar=np.ones((1, 3)),
    )  # fmt: skip
    (root / "OMNIGLOT").mkdir()
    (root / "OMNIGLOT" / "chardata.mat").write_bytes(content)
    git_name = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    monkeypatch.setattr(Omniglot, "checksum", git_name)
    return images


def test_omniglot_is_read_upright_from_the_file_of_the_paper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = write_omniglot(tmp_path, monkeypatch)
    Omniglot().fetch(tmp_path)
    images, labels = Omniglot().load(tmp_path, train=True)
    assert images.squeeze(1).tolist() == given.tolist()
    assert labels.tolist() == [4, 0, 49, 7, 7]
    images, labels = Omniglot().load(tmp_path, train=False)
    assert (images.squeeze(1).tolist(), labels.tolist()) == (given[:3].tolist(), [0, 1, 2])


def test_a_checksum_of_git_is_that_of_its_empty_blob(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert matches(tmp_path / "empty", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391")
    (tmp_path / "empty").write_bytes(b"x")
    assert not matches(tmp_path / "empty", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391")


# -- CelebA ---------------------------------------------------------------------------------------


def face(number: int) -> Image.Image:
    """178 x 218 pixels: black, and grey inside of the centre's square of 140 pixels."""
    pixels = np.zeros((218, 178, 3), np.uint8)
    pixels[39:179, 19:159] = 20 * number
    return Image.fromarray(pixels)


def write_celeba(
    root: Path, monkeypatch: pytest.MonkeyPatch, *, packed: bool = False, count: int = 12
) -> Path:
    """Of three faces, two are of training; validation and test have the others in turn.

    Every other one smiles.
    """
    folder = root / "celeba"
    folder.mkdir()
    names = [f"{number:06}.jpg" for number in range(1, count + 1)]
    splits = [(0, 0, 1, 0, 0, 2)[number % 6] for number in range(count)]
    smiles = [("-1", "1")[number % 2] for number in range(count)]
    contents = {
        "list_eval_partition.txt": "".join(
            f"{name} {split}\n" for name, split in zip(names, splits, strict=True)
        ),
        "list_attr_celeba.txt": f"{count}\nYoung Smiling \n"
        + "".join(f"{name}  1 {smile:>2}\n" for name, smile in zip(names, smiles, strict=True)),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, name in enumerate(names):
            picture = io.BytesIO()
            face(number).save(picture, format="jpeg", quality=100)
            archive.writestr(f"img_align_celeba/{name}", picture.getvalue())
    packs = {name: text.encode() for name, text in contents.items()}
    for name, content in packs.items():
        (folder / name).write_bytes(content)
    packs["img_align_celeba.zip"] = buffer.getvalue()
    if packed:
        (folder / "img_align_celeba.zip").write_bytes(buffer.getvalue())
    else:
        with zipfile.ZipFile(buffer) as archive:
            archive.extractall(folder)
    table = [
        (drive_id, md5(packs[name]) if name in packs else checksum, name)
        for drive_id, checksum, name in torchvision.datasets.CelebA.file_list
    ]
    monkeypatch.setattr(torchvision.datasets.CelebA, "file_list", table)
    return folder


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("streamed", [True, False])
def test_celeba_serves_the_centre_of_each_face_in_the_official_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool, streamed: bool
) -> None:
    write_celeba(tmp_path, monkeypatch, packed=packed)
    module = module_of(
        "celeba", tmp_path, "data.source.attribute=Smiling", "data.size=16",
        f"data.source.max_resident_gb={0 if streamed else 1}", "data.source.num_workers=0",
    )  # fmt: skip
    assert module.num_images == {"train": 8, "val": 2, "test": 2}
    images, labels = module.images("train", 8)
    assert images.shape == (8, 3, 16, 16)
    # Nothing of the black border is left, and the numbers tell which faces these are.
    levels = images.mul(255 / 20)
    assert torch.allclose(levels[:, :, :1, :1].expand_as(levels), levels, atol=0.3)
    numbers = levels[:, 0, 8, 8].round().long()
    assert sorted(numbers.tolist()) == [0, 1, 3, 4, 6, 7, 9, 10]
    assert labels.tolist() == (numbers % 2).tolist()
    assert module.class_names == ("not Smiling", "Smiling")
    if not streamed:
        names = module.named_test_images().names
        assert names == [f"celeba/img_align_celeba/{name}.jpg" for name in ("000006", "000012")]


def test_an_attribute_that_does_not_exist_is_refused_with_those_that_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_celeba(tmp_path, monkeypatch)
    with pytest.raises(DataError, match=r"attribute=Smile does not .* one of Young, Smiling$"):
        module_of("celeba", tmp_path, "data.source.attribute=Smile")


def test_a_face_that_is_missing_stops_the_run_and_says_how_to_get_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_celeba(tmp_path, monkeypatch)
    (folder / "img_align_celeba" / "000004.jpg").unlink()
    with pytest.raises(DataError, match=r"000004\.jpg .*; delete the folder img_align_celeba to"):
        module_of("celeba", tmp_path)


def test_celeba_without_gdown_says_what_to_install_or_which_files_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vae_lightning.data.celeba.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install gdown\. Put img_align_celeba\.zip \(or"):
        CelebA(None, 140, 4, 0).fetch(tmp_path)
    assert not list(tmp_path.iterdir())


def test_celeba_is_downloaded_by_gdown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Drive:
        """Has the files under the numbers that torchvision knows."""

        def download(self, id: str, output: str, **options: Any) -> None:
            (name,) = (name for number, _, name in known.file_list if number == id)
            Path(output).write_bytes((there / name).read_bytes())

    known, there = torchvision.datasets.CelebA, tmp_path / "there" / "celeba"
    there.parent.mkdir()
    write_celeba(there.parent, monkeypatch, packed=True)
    monkeypatch.setitem(sys.modules, "gdown", Drive())
    monkeypatch.setattr("vae_lightning.data.celeba.find_spec", lambda name: True)
    # It would ask the network where the address leads to.
    monkeypatch.setattr(torchvision.datasets.utils, "_get_redirect_url", lambda url, **_: url)
    CelebA("Smiling", 140, 4, 0).fetch(tmp_path)
    assert len(list((tmp_path / "celeba" / "img_align_celeba").iterdir())) == 12


# -- all of them ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KNOWN)
def test_data_that_is_not_there_is_answered_in_one_line_with_its_files_and_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", refuse)
    with pytest.raises(DataError, match=r"is not in .*Put .* there$") as error:
        module_of(name, tmp_path)
    assert len(str(error.value).splitlines()) == 1
    assert str(tmp_path) in str(error.value)
    assert not list(tmp_path.iterdir())


def test_every_data_set_with_files_of_its_own_is_tested_here() -> None:
    without_files = {"mnist", "fashion_mnist", "kmnist", "digits", "mnist_or_digits"}
    assert set(options("data")) - without_files == {*KNOWN, "arrays", "image_folder"}


@pytest.mark.parametrize(
    ("source", "split"), [(CIFAR10(), "train"), (Omniglot(), "train"), (SVHN(), "test")]
)
def test_the_numbers_of_images_are_those_of_the_papers(source: ImageSource, split: str) -> None:
    expected = {"CIFAR-10": 50_000, "OMNIGLOT": 23_000 + 1_345, "SVHN": 26_032}
    assert getattr(source, f"num_{split}") == expected[source.title]


def test_a_run_on_colour_images_of_a_known_data_set_is_trained_and_evaluated(
    tmp_path: Path, call_command: CallCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "files").mkdir()
    write_cifar10(tmp_path / "files", monkeypatch, count=10)
    outcome = call_command(
        "data=cifar10", "data.root=files", "data.val_size=10", "trainer=cpu",
        "trainer.max_epochs=1", "model/likelihood=discretized_logistic", "model.encoder.hidden=[4]",
        "model.decoder.hidden=[4]", "callbacks=minimal", "logger=none", "hydra.run.dir=run",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    assert read_metrics(Path("run"))["test/elbo"] < 0
    assert "CIFAR-10: 40 training, 10 validation (split), 10 test images" in outcome.out
