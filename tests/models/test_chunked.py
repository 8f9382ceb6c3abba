"""Images decoded in chunks are scored as images decoded at once."""

import pytest
import torch
from torch import Tensor

from tiny import composed_model
from vae_lightning.models import chunked
from vae_lightning.models.chunked import chunked_trace

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
@pytest.mark.parametrize("decoded", [1, 4, 7, 100])
def test_a_trace_decoded_in_chunks_has_the_terms_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, name: str, decoded: int
) -> None:
    monkeypatch.setattr(chunked, "_CHUNK", decoded)
    model = composed_model(*MODELS[name]).eval()
    x, labels = torch.rand(2, 1, 28, 28), torch.tensor([3, 8])
    with torch.no_grad():
        torch.manual_seed(1)
        whole = model(x, 5, labels)
        torch.manual_seed(1)
        trace = chunked_trace(model, x, 5, labels)
        assert trace.log_likelihood.shape == (5, 2)
        for term in ("log_weight", "log_likelihood", "rate", "elbo"):
            torch.testing.assert_close(getattr(trace, term), getattr(whole, term))
    assert trace.likelihood.batch_shape == whole.likelihood.batch_shape
    assert trace.likelihood.event_shape == whole.likelihood.event_shape


def test_no_more_images_than_a_chunk_are_decoded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked, "_CHUNK", 7)
    model = composed_model(*MODELS["vae"]).eval()
    decoded: list[tuple[int, ...]] = []

    def watch(part: object, inputs: tuple[Tensor], output: Tensor) -> None:
        decoded.append(tuple(output.shape[:-1]))

    model.decoder.register_forward_hook(watch)
    trace = chunked_trace(model, torch.rand(2, 1, 28, 28), 10)
    assert decoded == []  # nothing is decoded before it is scored
    _ = trace.elbo
    assert decoded == [(3, 2), (3, 2), (3, 2), (1, 2)]
