"""A predictor and inputs of any kind as what the numerics take: one function, and the array that is perturbed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError, OverBudgetError
from robmon.library.fitting import fit
from robmon.library.place import Place
from robmon.library.torch_module import as_tensor, axes_reader, evaluating, predictor_without_gradients
from robmon.models.devices.device import AUTO
from robmon.models.inputs.measurements import as_numbers, measurements_advice
from robmon.models.inputs.model_inputs import ModelInputs
from robmon.models.inputs.split import split
from robmon.models.loading import RemoteModel, load_uri
from robmon.models.outputs.outputs import OutputReader
from robmon.models.served.predictor import predictor_of
from robmon.models.served.served import ServedModel
from robmon.report.budget import OPTIONS
from robmon.robustness.arrays import Array, Float64, namespace, to_numpy
from robmon.robustness.assessment import assess_rows
from robmon.robustness.checks import check_above_zero
from robmon.robustness.engine.plan import AssessmentPlan, expected_seconds, plan_assessment
from robmon.robustness.engine.predictor import FunctionPredictor, Predictor, through
from robmon.robustness.features.channels import FeatureAxis, NamedTensor, Read, choose, named
from robmon.robustness.features.whole_numbers import Whole
from robmon.robustness.probes.attribution import attribute_rows
from robmon.robustness.probes.shares import Attribution
from robmon.robustness.result import Assessment
from robmon.robustness.sentences import some_of
from robmon.robustness.specification import Specification
from robmon.vocabulary import ALL_INTEGERS

INTEGERS_OPTION = "--integers"
MOST_NAMES = 40
"""Most columns that a note names."""
BUDGET_MIN_ROWS = 32
"""Fewest rows to which a time budget cuts the inputs: one request to an endpoint."""


@dataclass(frozen=True)
class PreparedRows:
    """A predictor and inputs as the numerics take them.

    Attributes:
        predictor: the model.
        array: what is perturbed.
        column_names: of the array's columns, where they have any.
        not_floating: columns of the inputs that are not in the array, because they hold no floating-point numbers.
        notes: sentences on what was deduced, left alone or left out.
        whole: which columns of the array are whole numbers.
        tensors: the named tensors that the array is made of.
        read: which axis of each tensor the model's first layer takes for features; None: not known.
        kept: indices of the rows among those given; None where they are all there.
        of_rows: how many were given, where not all are there.
        outputs: reads the outputs, and knows the names of their parts once the model has been asked.
    """

    predictor: Predictor
    array: Array
    column_names: tuple[str, ...] | None = None
    not_floating: int = 0
    notes: tuple[str, ...] = ()
    whole: Whole | None = None
    tensors: tuple[NamedTensor, ...] | None = None
    read: Read | None = None
    largest: Float64 | None = None
    """What the model gets of each feature at most, where that is less than the array holds."""
    kept: tuple[int, ...] | None = None
    of_rows: int | None = None
    parts: ModelInputs | None = None
    """The inputs taken apart, where they were."""
    for_rows: Callable[[NDArray[np.int64]], Predictor] | None = None
    """Makes the predictor of some of these rows, with what of them passes through."""
    dtype: Any | None = None
    """The dtype of an array of whole numbers, which is float64 here."""
    outputs: OutputReader = field(default_factory=OutputReader)
    model: ServedModel | None = None
    """The model that was loaded, where it was given by its URI or so."""
    place: Place = field(default_factory=Place)

    def axis(self, asked: int | None, *, refuses: bool = True) -> FeatureAxis:
        """Which axis of the array counts features, see `channels.choose`."""
        return choose(self.array, tensors=self.tensors, asked=asked, read=self.read, refuses=refuses)

    def assess(
        self,
        specification: Specification,
        *,
        targets: Any = None,
        max_seconds: float | None = None,
        expect: Callable[[float], None] | None = None,
        **options: Any,
    ) -> Assessment:
        """`assess_rows` of them, within a time budget if one is given; `expect` is told the seconds it will take."""
        if specification.accuracy_limit is not None and targets is None:
            raise InvalidInputError("accuracy_limit is a share of right classes, which needs targets (--target)")
        cut, retries = "", 0
        array = self.array
        if options.get("features") is None:
            is_free = options.get("scale") is None and not specification.acts_on_images
            options |= {"axis": self.axis(specification.feature_axis, refuses=is_free)}
        options |= {"whole": self.whole, "has_own_batches": specification.max_batch_rows is not None}
        if self.kept is not None and targets is not None and len(targets) == self.of_rows:
            targets = np.asarray(targets)[list(self.kept)]
        if max_seconds is not None:
            plan, cut = self._plan(specification, max_seconds, options)
            retries = plan.out_of_memory_retries
            specification, array = plan.of(specification), array[: plan.rows]
            if targets is not None and len(targets) == plan.of_rows:  # else they are refused where they are used
                targets = targets[: plan.rows]
            if expect is not None:
                expect(plan.seconds)
        elif expect is not None:
            expect(expected_seconds(self.predictor, array, specification, **self._for_timing(options)))
        result = assess_rows(
            self.predictor,
            array,
            specification,
            targets=targets,
            feature_names=self.column_names,
            largest_inputs=self.largest,
            output_names=lambda: self.outputs.names,
            notes=self.notes,
            **options,
        )
        masked = replace(result.masked, not_floating=self.not_floating)
        notes = (*self.outputs.notes, *result.notes)
        retries += result.out_of_memory_retries + self.place.retries
        return replace(result, masked=masked, cut=cut, notes=notes, out_of_memory_retries=retries)

    def attribute(
        self, specification: Specification, *, level: float, max_seconds: float | None, scale: Any, **options: Any
    ) -> Attribution:
        """`attribute_rows` of them, within a time budget if one is given."""
        if max_seconds is not None:
            check_above_zero(max_seconds, "max_seconds")
        try:
            result = attribute_rows(
                self.predictor,
                self.array,
                specification,
                level=level,
                feature_names=self.feature_names,
                scale=scale,
                axis=self.axis(specification.feature_axis, refuses=scale is None),
                whole=self.whole,
                column_names=self.column_names,
                largest_inputs=self.largest,
                output_names=lambda: self.outputs.names,
                max_seconds=max_seconds,
                notes=self.notes,
                **options,
            )
        except OverBudgetError as error:
            raise error.advised(OPTIONS.advice(is_endpoint=self.predictor.rows_per_second is not None)) from None
        return replace(result, notes=(*self.outputs.notes, *result.notes))

    def feature_names(self, axis: FeatureAxis) -> tuple[str, ...]:
        """Names of the features that the axis counts: columns, `input[i]`, `name[i]`; of images `channel_i`."""
        if self.column_names is not None and self.tensors is None:
            return self.column_names
        return named(axis, tuple(self.array.shape), self.tensors)

    def _for_timing(self, options: dict[str, Any]) -> dict[str, Any]:
        """The options of `assess_rows` that a batch to be timed needs."""
        shared = {name: options[name] for name in ("features", "axis", "whole") if name in options}
        return shared | {"feature_names": self.column_names}

    def _plan(
        self, specification: Specification, max_seconds: float, options: dict[str, Any]
    ) -> tuple[AssessmentPlan, str]:
        """What fits into the time budget, and what was cut."""
        check_above_zero(max_seconds, "max_seconds")
        is_endpoint = self.predictor.rows_per_second is not None
        try:
            plan = plan_assessment(
                self.predictor,
                self.array,
                specification,
                **self._for_timing(options),
                min_rows=min(BUDGET_MIN_ROWS, int(self.array.shape[0])),
                max_seconds=max_seconds,
                began=time.perf_counter() - self.place.spent_seconds,
            )
        except OverBudgetError as error:
            raise error.advised(OPTIONS.advice(is_endpoint=is_endpoint)) from None
        return plan, OPTIONS.cut(plan, max_seconds, is_endpoint=is_endpoint)


@contextmanager
def open_predictor(
    predictor: Any, inputs: Any, specification: Specification, device: str | Place = AUTO
) -> Iterator[PreparedRows]:
    """The predictor as `predict(x, rows)`, and the array that is perturbed.

    Args:
        predictor: as in `robmon.assess`.
        inputs: as there.
        specification: which columns are whole numbers, and which part of the outputs is assessed.
        device: as there; of a model by its URI also where it runs instead.
    """
    place = device if isinstance(device, Place) else Place(device)
    outputs, measured = OutputReader(specification.output_column), specification.perturbed_integers
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(predictor, torch.export.ExportedProgram):
        raise InvalidInputError("an ExportedProgram is not a torch module: give what its .module() returns")
    if isinstance(predictor, (str, Path, ServedModel, RemoteModel)):
        yield _of_model(predictor, inputs, place, measured, outputs)
    elif torch is not None and isinstance(predictor, torch.nn.Module):
        with evaluating(predictor, place.device) as where:
            if hasattr(inputs, "columns"):
                raise InvalidInputError("a torch module takes an array or a tensor, not a DataFrame")
            array = as_tensor(_plain_array(inputs), predictor, where)
            asked = predictor_without_gradients(predictor, outputs, where)
            rows = _of_array(asked, array, specification, axes_reader(predictor, array))
            yield replace(rows, outputs=outputs)
    elif callable(predictor):
        yield replace(_of_callable(predictor, inputs, specification, outputs), outputs=outputs)
    else:
        raise InvalidInputError(
            f"a predictor is a callable, a torch module or the URI of an MLflow model, not {type(predictor).__name__}"
        )


def _of_callable(
    function: Callable[[Any], Any], inputs: Any, specification: Specification, outputs: OutputReader
) -> PreparedRows:
    if array_api_compat.is_array_api_obj(inputs) or isinstance(inputs, (list, tuple)):
        array = _plain_array(inputs)
        place = str(array_api_compat.device(array))
        return _of_array(FunctionPredictor(lambda x, rows: outputs(function(x), len(x)), place), array, specification)
    parts = split(inputs, specification.perturbed_integers)

    def on(of_rows: ModelInputs) -> Predictor:
        def predict(x: Array, rows: slice) -> Array:
            model_input = of_rows.assemble(x, rows)
            return outputs(function(model_input), len(x), model_input)

        return FunctionPredictor(predict, max_batch_rows=of_rows.batch_rows)

    return replace(_of_parts(on(parts), parts, parts.array), for_rows=lambda rows: on(parts.take(rows)))


def _of_parts(predictor: Predictor, parts: ModelInputs, array: Array, read: Read | None = None) -> PreparedRows:
    return PreparedRows(
        predictor,
        array,
        parts.column_names,
        parts.not_floating,
        notes=parts.notes(INTEGERS_OPTION),
        whole=parts.whole,
        tensors=parts.tensors,
        read=read,
        largest=parts.largest,
        parts=parts,
    )


def _of_array(
    predictor: Predictor, array: Array, specification: Specification, read: Read | None = None
) -> PreparedRows:
    """An array of whole numbers is perturbed in float64, and the predictor gets it in its own dtype."""
    xp = namespace(array)
    if not xp.isdtype(array.dtype, "integral") or ALL_INTEGERS not in specification.perturbed_integers:
        if specification.integers and not xp.isdtype(array.dtype, "integral"):
            raise InvalidInputError(f"integers are of no use: the inputs are one array of {array.dtype}")
        if xp.isdtype(array.dtype, "integral"):
            raise InvalidInputError(
                f"nothing can be perturbed: the inputs are {array.dtype}, not floating-point numbers; "
                + measurements_advice([])
            )
        return PreparedRows(predictor, array, read=read)
    dtype, whole = array.dtype, Whole.of(to_numpy(array[:0]).dtype)
    as_numbers(to_numpy(array), "the inputs")
    in_own_dtype = through(predictor, lambda x, rows: predictor.predict(xp.astype(x, dtype), rows))
    return PreparedRows(in_own_dtype, xp.astype(array, xp.float64), whole=whole, read=read, dtype=dtype)


def _plain_array(inputs: Any) -> Array:
    """An array of numbers, NaN among them or not; whether they can be perturbed is seen later. Masked ones are NaN."""
    if isinstance(inputs, np.ma.MaskedArray):
        if inputs.dtype.kind != "f" and np.ma.is_masked(inputs):
            raise InvalidInputError(f"cells of {inputs.dtype} are masked, which cannot be NaN: fill them")
        inputs = inputs.filled(np.nan) if inputs.dtype.kind == "f" else inputs.data
    try:
        array = inputs if array_api_compat.is_array_api_obj(inputs) else np.asarray(inputs, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidInputError("inputs are not an array of numbers") from None
    if isinstance(array, np.ndarray) and array.dtype.kind not in "fiub":
        raise InvalidInputError(f"inputs are of type {array.dtype}, not numbers")
    return array


def _of_model(
    model: str | Path | ServedModel | RemoteModel,
    inputs: Any,
    place: Place,
    integers: Sequence[str],
    outputs: OutputReader,
) -> PreparedRows:
    if isinstance(model, RemoteModel):
        model = model.connect(integers)
    elif not isinstance(model, ServedModel):
        model = load_uri(str(model), device=place.device, integers=integers)
    is_plain = not (hasattr(inputs, "columns") or isinstance(inputs, dict) or _is_list_of_arrays(inputs))
    given = _plain_array(inputs) if is_plain else inputs
    fitted = fit(model, given, integers)
    parts = fitted.inputs
    predictor = predictor_of(model, parts, outputs)
    rows = _of_parts(predictor, parts, model.put(parts.array), lambda: model.axes_read(parts))
    notes = (*place.notes, *model.notes, *_columns_not_taken(given, parts), *fitted.notes, *rows.notes)
    place.opened = time.perf_counter()
    return replace(
        rows,
        notes=notes,
        kept=fitted.kept,
        of_rows=fitted.of_rows,
        outputs=outputs,
        for_rows=lambda index: predictor_of(model, parts.take(index), outputs),
        model=model,
        place=place,
    )


def _columns_not_taken(given: Any, parts: ModelInputs) -> tuple[str, ...]:
    """The named columns that the model does not take, such as a label that was left among the inputs."""
    names = list(given.columns) if hasattr(given, "columns") else list(given) if isinstance(given, dict) else []
    taken = parts.assemble(parts.array[:1], slice(0, 1))
    if not (hasattr(taken, "columns") or isinstance(taken, dict)):
        return ()  # one array, of the columns in their order
    used = {str(name) for name in taken}
    ignored = [str(name) for name in names if str(name) not in used]
    return (f"ignored, because the model does not take it: {some_of(ignored, MOST_NAMES)}",) if ignored else ()


def _is_list_of_arrays(inputs: Any) -> bool:
    return isinstance(inputs, list) and bool(inputs) and all(isinstance(row, np.ndarray) for row in inputs)
