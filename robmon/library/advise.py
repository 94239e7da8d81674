"""Advice on a model, in the caller's process."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from robmon.errors import InvalidInputError
from robmon.extras import how_to_install
from robmon.library.prepared_rows import PreparedRows, open_predictor
from robmon.library.resolutions import Sizes, other_resolutions, resolution_of
from robmon.models.loading import RemoteModel, load_uri
from robmon.models.served.served import ServedModel
from robmon.models.signature.forms import Parts
from robmon.models.uri import is_endpoint
from robmon.robustness.arrays import Float64, batches, copied, like, namespace, to_numpy
from robmon.robustness.features.features import measure
from robmon.robustness.noise.images.layout import ImageLayout
from robmon.robustness.probes.advice.advise import Look, advise_by
from robmon.robustness.probes.advice.result import Advice
from robmon.robustness.probes.advice.rules import of_resolutions
from robmon.robustness.specification import Specification
from robmon.vocabulary import ALL_INTEGERS

LEVEL: Final = 0.1
"""Of the noise whose way is measured: standard deviations of each feature."""
EXAMPLE_ROWS: Final = 2
MEASURED_ROWS: Final = 256
"""Most rows, the first ones, with which it is measured."""
BATCH_ROWS: Final = 32
"""So many at a time: what goes into operators and comes out of them is kept meanwhile."""
NO_GRAPH: Final = "the model is no torch module of tensors, and no graph of ONNX"


def advise(
    module: Any,
    example: Any = None,
    inputs: Any = None,
    *,
    layout: ImageLayout | None = None,
    scale_axis: int | None = None,
    device: str = "auto",
) -> Advice:
    """Advise on how a model's own operators treat noise, by the rules of arXiv 2509.20939. Advice, not a verdict.

    The rules are tendencies; the measured curve decides, see `robmon.assess`.

    Args:
        module: a torch module, eager, exported or TorchScript; or the URI of an MLflow model that is one, or is an ONNX
            graph.
        example: rows that the model takes, `(n, *input_shape)`. None: the first of `inputs`, else rows of zeros as the
            model's signature describes them.
        inputs: rows on which noise over signal is measured before and after each operator that a rule is about, under
            Gaussian noise of 0.1 standard deviations; the first 256 are used. None: nothing is measured.
        layout: how inputs are pictures; its `std` counts as a normalisation done by the client.
        scale_axis: as in `robmon.assess`.
        device: as in `robmon.assess`.

    Returns:
        `.items`, each with `.rule`, `.where`, `.read`, `.gain`, `.source`, `.measured` and `.text`; empty, with
        `.reason`, where the model cannot be read. See `Advice`.

    Raises:
        InvalidInputError: no example is given and nothing says what the model takes; or as `robmon.assess`.
        RegistryError, ModelError: as `robmon.assess`.

    >>> import torch
    >>> box = torch.nn.Conv2d(1, 1, 3, bias=False)
    >>> _ = box.weight.data.fill_(1 / 9)
    >>> [(item.rule, round(item.gain, 4)) for item in advise(box, torch.zeros(1, 1, 8, 8)).items]
    [('stem_noise', 0.1111)]
    """
    if isinstance(module, RemoteModel) or (isinstance(module, str) and is_endpoint(module)):
        return Advice(reason="a model at its endpoint shows no operators")
    others: Sizes = []
    if isinstance(module, str | Path):
        others = other_resolutions(str(module))
        module = load_uri(str(module), device=device, integers=(ALL_INTEGERS,))
    if isinstance(module, ServedModel) and module.module is None and module.graph is None:
        return Advice(reason=NO_GRAPH)
    if example is None:
        example = inputs if inputs is not None else _blank(module)
    specification = Specification(scale_axis=scale_axis, layout=layout)
    with open_predictor(module, example, _taking(specification, example), device) as shown:
        look, first = _look_of(shown, layout), _first(shown)
        if isinstance(look, str):
            return Advice(reason=look)
        if inputs is None:
            advice = advise_by(look, first)
        else:
            with open_predictor(module, inputs, _taking(specification, inputs), device) as rows:
                advice = advise_by(look, first, _pairs(rows, specification))
                advice = replace(advice, notes=(*rows.notes, *advice.notes))
        return _with_resolutions(advice, shown, others)


def _with_resolutions(advice: Advice, rows: PreparedRows, others: Sizes) -> Advice:
    """With what other versions say, whose pictures have another size; last, since nothing of it is measured."""
    own = resolution_of([tuple(rows.array.shape)])
    if advice.reason or own is None:
        return advice
    return replace(advice, items=(*advice.items, *of_resolutions(own, others)))


def _blank(module: Any) -> Any:
    """Rows of zeros in the form that a model's signature says."""
    rows = module.blank_rows(module.fixed_rows or EXAMPLE_ROWS) if isinstance(module, ServedModel) else None
    if rows is None:
        raise InvalidInputError(
            "nothing says the shape of the model's inputs: give rows that it takes (--inputs; example in Python)"
        )
    return rows


def _taking(specification: Specification, rows: Any) -> Specification:
    """With whole numbers as measurements, where all there are are such: pixels, mostly."""
    dtypes = [str(getattr(each, "dtype", "")) for each in (rows.values() if isinstance(rows, dict) else [rows])]
    is_whole = bool(dtypes) and all("int" in dtype for dtype in dtypes)
    return replace(specification, integers=(ALL_INTEGERS,)) if is_whole else specification


def noise_gain(rows: PreparedRows, layout: ImageLayout | None) -> float | None:
    """The variance of noise behind a model's first convolution over that before, normalisation included; None where
    that is not readable."""
    look = _look_of(rows, layout)
    return None if isinstance(look, str) else advise_by(look, _first(rows)).input_noise_gain


def _rows_of_calls(rows: PreparedRows) -> int | None:
    """How many rows every call has, where that is fixed."""
    return None if rows.model is None else rows.model.fixed_rows


@dataclass(frozen=True, eq=False)
class _Some:
    """Some of the rows, as they are or with noise, and from which one on."""

    rows: PreparedRows
    array: Any
    start: int = 0

    @property
    def model_input(self) -> Any:
        """What the model is called with: an array, a DataFrame, or arrays by name."""
        if self.rows.parts is None:
            dtype = self.rows.dtype
            return self.array if dtype is None else namespace(self.array).astype(self.array, dtype)
        assembled = self.rows.parts.assemble(self.array, slice(self.start, self.start + len(self.array)))
        return assembled.inputs[0] if isinstance(assembled, Parts) else assembled


def _first(rows: PreparedRows) -> _Some:
    return _Some(rows, rows.array[: _rows_of_calls(rows) or EXAMPLE_ROWS])


def _look_of(rows: PreparedRows, layout: ImageLayout | None) -> Look | str:
    """What runs the model and tells its operators; or why it is not readable."""
    factor = _client_factor(layout, tuple(rows.array.shape))
    if rows.predictor.module is not None:
        from robmon.robustness.probes.advice.torch_reading import look_at

        return look_at(rows.predictor.module, _tensors, factor)
    graph = None if rows.model is None else rows.model.graph
    if graph is None:
        return NO_GRAPH
    if importlib.util.find_spec("onnx") is None:
        return f"a graph of ONNX is read by onnx, which is not installed: {how_to_install('onnx')}"
    from robmon.models.flavours.onnx_predictor import opened
    from robmon.robustness.probes.advice.onnx_reading import GraphLook

    def open_model(content: bytes) -> Callable[[Any, Sequence[str]], Mapping[str, Any]]:
        run = opened(content)
        return lambda some, names: run(some.model_input if isinstance(some, _Some) else some, names)

    return GraphLook(graph, open_model, factor)


def _tensors(some: _Some) -> list[Any]:
    import torch

    given = some.model_input
    tensors = given.values() if isinstance(given, dict) else [given]
    return [torch.as_tensor(each, device=some.array.device) for each in tensors]


def _client_factor(layout: ImageLayout | None, shape: Sequence[int]) -> Float64 | None:
    """What a client that normalises pictures has multiplied each channel by."""
    if layout is None or layout.std is None:
        return None
    axis = layout.channel_axis(shape)
    by = 1.0 / np.broadcast_to(np.asarray(layout.std, dtype=np.float64), (shape[axis],))
    return by.reshape([-1 if each == axis else 1 for each in range(len(shape))])


def _pairs(rows: PreparedRows, specification: Specification) -> Iterator[tuple[_Some, _Some]]:
    """Rows and the same with noise, in batches."""
    rows_of_calls = _rows_of_calls(rows)
    count, size = min(int(rows.array.shape[0]), MEASURED_ROWS), rows_of_calls or BATCH_ROWS
    if rows_of_calls is not None:
        count -= count % size
    array = rows.array[:count]
    scale = np.broadcast_to(measure(array, axis=rows.axis(specification.feature_axis)).scale, tuple(array.shape[1:]))
    draw = np.random.default_rng(0)
    for which in batches(count, size):
        clean = array[which]
        moves = draw.standard_normal(tuple(clean.shape)) * scale * LEVEL
        noisy = like((to_numpy(clean) + moves).astype(to_numpy(clean).dtype), clean)
        yield _Some(rows, copied(clean), which.start), _Some(rows, noisy, which.start)
