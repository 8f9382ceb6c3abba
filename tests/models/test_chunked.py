"""Images decoded in chunks are scored as images decoded at once."""

import pytest
import torch
from torch import Tensor

from tiny import composed_model
from vae_lightning.utils import blocks

SMALL = ["paths.run_dir=unused", "data=digits"]
DENSE = [*SMALL, "model.encoder.hidden=[8]", "model.decoder.hidden=[8]"]
MODELS = {
    "vae": [*DENSE, "model.latent_dim=3"],
    "conditional": [*DENSE, "model=conditional", "model.latent_dim=3"],
    "hierarchical": [*DENSE, "model=hierarchical", "model.latent_dims=[3,2]"],
    "hierarchical, all layers decoded": [
        *DENSE,
        "model=hierarchical",
        "model.latent_dims=[3,2]",
        "model.decoder_sees=all",
    ],
    "vector_quantized": [*SMALL, "model=vector_quantized", "model.num_codes=4"],
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("most", [1, 3, 4, 7, 100])
def test_a_trace_decoded_in_chunks_has_the_terms_of_the_whole(name: str, most: int) -> None:
    model = composed_model(*MODELS[name]).eval()
    x, labels = torch.rand(5, 1, 28, 28), torch.tensor([3, 8, 0, 1, 9])
    with torch.no_grad():
        torch.manual_seed(1)
        whole = model(x, 3, labels)
        torch.manual_seed(1)
        trace = model.chunked_trace(x, 3, labels, most=most)
        assert trace.log_likelihood.shape == (3, 5)
        for term in ("log_weight", "log_likelihood", "rate", "elbo"):
            torch.testing.assert_close(getattr(trace, term), getattr(whole, term))
    assert trace.likelihood.batch_shape == whole.likelihood.batch_shape
    assert trace.likelihood.event_shape == whole.likelihood.event_shape
    assert trace.auxiliary.keys() == whole.auxiliary.keys()
    for loss in trace.auxiliary:
        torch.testing.assert_close(trace.auxiliary[loss], whole.auxiliary[loss])


def decoded_at_once(num_images: int, num_samples: int, most: int | None) -> list[tuple[int, ...]]:
    """The batch shapes that the decoder is given."""
    model = composed_model(*MODELS["vae"]).eval()
    x = torch.rand(num_images, 1, 28, 28)
    _ = model.chunked_trace(x[:1], 1).elbo  # the memory of an image is measured once
    shapes: list[tuple[int, ...]] = []

    def watch(part: object, inputs: tuple[Tensor], output: Tensor) -> None:
        shapes.append(tuple(output.shape[:-1]))

    model.decoder.register_forward_hook(watch)
    trace = model.chunked_trace(x, num_samples, most=most)
    assert shapes == []  # nothing is decoded before it is scored
    _ = trace.elbo
    return shapes


def test_no_more_images_than_a_chunk_are_decoded_at_once() -> None:
    assert decoded_at_once(2, 10, most=7) == [(3, 2), (3, 2), (3, 2), (1, 2)]
    assert decoded_at_once(5, 2, most=4) == [(1, 4), (1, 1)] * 2


def test_a_chunk_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert decoded_at_once(10, 2, most=None) == [(2, 10)]
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 4 * blocks.BLOCK_BYTES // 2**18)  # 4 kB
    assert decoded_at_once(2, 2, most=None) == [(1, 1)] * 4


@pytest.mark.parametrize("name", MODELS)
def test_latents_and_mean_images_are_the_same_in_blocks(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    model = composed_model(*MODELS[name]).eval()
    x, labels = torch.rand(5, 1, 28, 28), torch.tensor([3, 8, 0, 1, 9])
    latents = model.latent_means(x, labels)
    images = model.mean_images(latents, labels)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1)
    torch.testing.assert_close(model.latent_means(x, labels), latents)
    torch.testing.assert_close(model.mean_images(latents, labels), images)
