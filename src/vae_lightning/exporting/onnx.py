"""ONNX files of the encoder and decoder, checked against the model with onnxruntime."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from vae_lightning.errors import UserError
from vae_lightning.exporting.parts import Part

# Largest allowed difference between a file and the model: absolute, or relative for values above 1.
TOLERANCE = 1e-4

# Sizes of the batches that a file is checked with; it is exported with the first one.
_BATCHES = (3, 1, 64)


def write_onnx(part: Part, file: Path) -> None:
    """Write an encoder or decoder, for batches of any size.

    Raises:
        UserError: torch.onnx cannot export it.
    """
    axis = torch.export.Dim("batch")
    example = part.example(_BATCHES[0])
    try:
        with _quiet():
            program = torch.onnx.export(
                part.eval(),
                example,
                input_names=list(part.inputs),
                output_names=list(part.outputs),
                dynamic_shapes=(tuple({0: axis} for _ in example),),
                custom_translation_table=_translations(),
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            # Each node's metadata holds a stack trace with paths of this machine.
            for node in program.model.graph.all_nodes():
                node.metadata_props.clear()
            program.save(str(file))
    # The exporter's errors have no common base class.
    except Exception as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise UserError(
            f"the {part.name} of this model cannot be written as ONNX: {reason}; its weights are "
            f"in {file.with_name('model.safetensors')}"
        ) from error


def check_onnx(part: Part, file: Path) -> float:
    """Compare the outputs of a file with those of the model, on batches of several sizes.

    Returns:
        the largest difference.

    Raises:
        UserError: it is above `TOLERANCE`, or onnxruntime cannot run the file. The file is removed.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    largest = 0.0
    try:
        session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )
        for count in _BATCHES:
            inputs = part.example(count)
            named = {name: value.numpy() for name, value in zip(part.inputs, inputs, strict=True)}
            for expected, output in zip(part(*inputs), session.run(None, named), strict=True):
                error = (torch.from_numpy(output) - expected).abs() / expected.abs().clamp_min(1)
                largest = max(largest, float(error.max()))
    # The errors of onnxruntime have no common base class.
    except Exception as error:
        file.unlink()
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"onnxruntime cannot run the {part.name}: {reason}") from error
    if not largest <= TOLERANCE:
        file.unlink()
        raise UserError(
            f"the {part.name} as ONNX differs from the model by {largest:.1e}, more than "
            f"{TOLERANCE:.0e}: the file was removed"
        )
    return largest


def _translations() -> dict[Any, Any]:
    """Translations of operations that torch.onnx does not support."""
    from onnxscript import opset18 as op

    def hypot(a: Any, b: Any) -> Any:
        return op.Sqrt(op.Add(op.Mul(a, a), op.Mul(b, b)))

    return {torch.ops.prims.hypot.default: hypot, torch.ops.aten.hypot.default: hypot}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's log messages and warnings."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
