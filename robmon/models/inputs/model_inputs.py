"""Model inputs taken apart: what is perturbed, as one array, and how to put a whole input together again.

`split` runs once an assessment, `ModelInputs.assemble` once a batch of every trial and level, so whatever does not
change with the noise is worked out by the former.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.models.inputs.layout import AnyArray, FloatArray, Layout, Rebuild
from robmon.models.inputs.left_alone import LeftAlone
from robmon.models.inputs.measurements import LEFT_ALONE_TOLD, shortened
from robmon.robustness.features.channels import FeatureAxis, NamedTensor, Read, choose, named, of_fixed_size
from robmon.robustness.features.whole_numbers import Whole

COPIES_KEPT: Final = 3
"""Of how many batches of copied rows is kept what does not change with the noise."""
_Rest: TypeAlias = tuple[Layout, Rebuild | None]


@dataclass(frozen=True)
class ModelInputs:
    """Rows of model inputs. Build it with `split`.

    Attributes:
        array: what is perturbed, shape (rows, *input_shape). An array is taken as it is, as is the only one of several
            named tensors that is perturbed; a DataFrame's perturbed columns are a float64 matrix; several perturbed
            named tensors are flattened and stand side by side. Whole numbers are float64 here.
        left_alone: the columns, or named tensors, that pass through.
        whole: which columns of the array are whole numbers, and within what they stay; None: none.
        tensors: the perturbed named tensors.
        given: the inputs as they were given to `split`; None of some of their rows.
        absent: the optional columns that rows lacked when they were gathered, each with in how many.
    """

    array: FloatArray
    _layout: Layout
    left_alone: tuple[LeftAlone, ...] = ()
    whole: Whole | None = None
    tensors: tuple[NamedTensor, ...] | None = None
    given: Any = field(default=None, repr=False, compare=False)
    absent: tuple[str, ...] = ()
    _rebuild: Rebuild | None = None
    _fixed_axis: int | None = None
    _known_copies: dict[tuple[int, int, int], _Rest] = field(default_factory=dict, repr=False, compare=False)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.array)

    def axis(self, asked: int | None = None, read: Read | None = None, *, refuses: bool = True) -> FeatureAxis:
        """Which axis of the array counts features, see `channels.choose`."""
        if asked is None and self._fixed_axis is not None:
            return of_fixed_size(self.array.shape, self._fixed_axis)
        return choose(self.array, tensors=self.tensors, asked=asked, read=read, refuses=refuses)

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the perturbed features where nothing says how the inputs are read, see `names_by`."""
        return self.names_by(self.axis(refuses=False))

    def names_by(self, axis: FeatureAxis) -> tuple[str, ...]:
        """Names of the perturbed features: columns, `input[i]`, `name[i]`; of rank 3 and more `channel_i`."""
        if (columns := self._layout.column_names) is not None:
            return columns
        return named(axis, self.array.shape, self.tensors)

    @cached_property
    def column_names(self) -> tuple[str, ...] | None:
        """Names of the array's columns, where the inputs have named columns or tensors."""
        if (columns := self._layout.column_names) is not None:
            return columns
        if self.tensors is None or self.array.ndim > 2:
            return None
        flat = [_flat_names(tensor) for tensor in self.tensors]
        return tuple(name for names in flat for name in names)

    @cached_property
    def largest(self) -> NDArray[np.float64] | None:
        """The largest number that the model gets of each feature, 65504 of float16; None where it gets any."""
        is_half = self._layout.is_half(self.array)
        return np.where(is_half, float(np.finfo(np.float16).max), np.inf) if is_half.any() else None

    @property
    def batch_rows(self) -> int | None:
        """Rows of a batch that suit what the model gets of them, a DataFrame; None where it gets anything else."""
        return None if self._rebuild is not None else self._layout.batch_rows(self.array)

    @property
    def not_floating(self) -> int:
        """How many columns, or named tensors, pass through."""
        return len(self.left_alone)

    def notes(self, option: str) -> tuple[str, ...]:
        """Sentences on what passes through, and on optional columns that rows lack, column by column.

        Args:
            option: which makes measurements of whole numbers, such as `--integers`.
        """
        absent = (f"optional columns are absent: {shortened(self.absent)}",) if self.absent else ()
        if not self.left_alone:
            return absent
        return (
            f"left alone: {shortened((each.sentence(option) for each in self.left_alone), LEFT_ALONE_TOLD)}",
            *absent,
        )

    def passed(self) -> dict[str, Any]:
        """What passes through, by name: columns of a DataFrame, or whole tensors, `(n, ...)`."""
        return self._layout.passed()

    def assemble(self, array: Any, rows: slice) -> Any:
        """What the model takes: `array` in the place of the perturbed values, all others those of `rows`.

        Args:
            array: perturbed values of those rows, shape (len(rows), *input_shape), NumPy or torch; or of several copies
                of them, one after the other.
            rows: a slice of step 1 of the rows.

        Returns:
            An array (the same object, unless it holds whole numbers), a DataFrame, or a dict of named tensors, like the
            inputs given to `split`; or what they were `rebuilt` to.
        """
        layout, rebuild = self._layout, self._rebuild
        if len(array) != rows.stop - rows.start:
            layout, rebuild = self._copies(rows, len(array))
            rows = slice(0, len(array))
        batch = layout.assemble(array, rows)
        return batch if rebuild is None else rebuild(batch, rows)

    def _copies(self, rows: slice, length: int) -> _Rest:
        """What does not change with the noise, of those rows again and again; kept because it is wanted at every level.

        Of the latest few lengths only: the batch of all trials, that of the last ones, and one alone.
        """
        key = (rows.start, rows.stop, length)
        if key not in self._known_copies:
            while len(self._known_copies) >= COPIES_KEPT:
                self._known_copies.pop(next(iter(self._known_copies)))
            index = np.tile(np.arange(rows.start, rows.stop), length // (rows.stop - rows.start))
            rebuild = None if self._rebuild is None else self._rebuild.take(index)
            self._known_copies[key] = self._layout.take(index), rebuild
        return self._known_copies[key]

    def take(self, indices: Sequence[int] | AnyArray) -> ModelInputs:
        """The rows with these indices, in this order."""
        index = np.asarray(indices, dtype=np.intp)
        rebuild = None if self._rebuild is None else self._rebuild.take(index)
        array, layout = self.array[index], self._layout.take(index)
        return replace(self, array=array, _layout=layout, _rebuild=rebuild, given=None, _known_copies={})

    def resident(self, put: Callable[[AnyArray], Any]) -> ModelInputs:
        """The same rows, of which the tensors that pass through lie where `put` puts them, once and for all batches."""
        layout = self._layout.resident(put)
        return self if layout is self._layout else replace(self, _layout=layout, _known_copies={})

    def drawn(self, array: FloatArray, cells: Mapping[str, Sequence[Any]]) -> ModelInputs:
        """Rows of another array, of which what passes through is from `cells`, else neutral: 0, no text, False.

        Args:
            array: in the place of what is perturbed, shape (rows, *input_shape).
            cells: of columns, or named tensors, that pass through: one a row, by name.

        Raises:
            InvalidInputError: some of it cannot be neutral, or rows are not all of one form.
        """
        if self._rebuild is not None:
            raise InvalidInputError("its inputs are nested, or not of one size")
        layout = self._layout.drawn(len(array), cells)
        return replace(self, array=array, _layout=layout, given=None, absent=(), _known_copies={})

    def split_again(self, parts: ModelInputs) -> ModelInputs:
        """The same rows as `parts` has them, in which they were split otherwise."""
        return replace(
            parts, given=self.given, absent=self.absent, _rebuild=self._rebuild, _fixed_axis=self._fixed_axis
        )

    def rebuilt(self, rebuild: Rebuild, fixed_axis: int | None = None) -> ModelInputs:
        """The same rows, of which the model takes what `rebuild` makes of them.

        Args:
            rebuild: what it makes of them.
            fixed_axis: the only axis of the array whose size is the same in every sample.
        """
        return replace(self, _rebuild=rebuild, _fixed_axis=fixed_axis, _known_copies={})


def _flat_names(tensor: NamedTensor) -> tuple[str, ...]:
    """A name for every cell of a row of a named tensor."""
    if not tensor.shape:
        return (tensor.name,)
    return tuple(f"{tensor.name}[{index}]" for index in range(prod(tensor.shape)))
