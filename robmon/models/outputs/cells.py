"""One part of a model's outputs as an array of numbers or of text, whatever holds its cells.

Nothing is taken for what it is not: dates, complex numbers and cells of several kinds are told, not converted.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robmon.models.strangers import type_word

TEXT: Final = "text"
TRUTH: Final = "truth values"
WHOLE: Final = "whole numbers"
NUMBERS: Final = "numbers"
_EXACT: Final = 2**53
"""Up to here whole numbers are exact in float64."""


@dataclass(frozen=True)
class Cells:
    """Cells that can be assessed.

    Attributes:
        array: shape `(n, ...)`, numbers, or text with None where it is missing; a torch tensor stays where it is.
        kind: text, truth values, whole numbers (by type) or numbers.
    """

    array: Any
    kind: str


class UnusableError(Exception):
    """Cells that are neither numbers nor labels.

    Attributes:
        what: they are, in words.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(what)


def read(value: Any) -> Cells:
    """The cells of one part.

    Raises:
        UnusableError: they are no numbers or labels, or are so in different ways.

    >>> import decimal
    >>> read([decimal.Decimal("0.5"), None]).array.tolist(), read([b"cat", b"dog"]).array.tolist()
    ([0.5, nan], ['cat', 'dog'])
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _of_tensor(value.detach(), torch)
    if torch is not None and isinstance(value, (list, tuple)) and value and isinstance(value[0], torch.Tensor):
        return _of_tensor(_stacked_tensors(value, torch), torch)
    if isinstance(value, np.ma.MaskedArray):
        return _of_masked(value)
    if isinstance(value, (list, tuple)):
        return _of_list(value)
    if is_sparse(value):
        return _of_numpy(np.asarray(value.toarray()))
    if hasattr(value, "to_numpy"):
        return _of_numpy(np.asarray(value.to_numpy(**_exactly(value))))
    if hasattr(value, "__array__") or isinstance(value, (int, float)):
        return _of_numpy(np.asarray(value))
    if value is None:
        raise UnusableError("nothing")
    word = type_word(type(value))
    raise UnusableError(word if word.startswith(("a ", "an ")) else f"a {word}")


def _exactly(value: Any) -> dict[str, Any]:
    """How a Series, or an array of Arrow, gives its cells as they are, whole numbers beside missing ones too."""
    library = type(value).__module__.partition(".")[0]
    if library == "pyarrow":
        return {"zero_copy_only": False}
    is_nullable = library == "pandas" and not isinstance(value.dtype, np.dtype)
    return {"dtype": object} if is_nullable else {}


def is_sparse(value: Any) -> bool:
    """Whether this is a sparse matrix, of SciPy or like those."""
    return hasattr(value, "toarray") and hasattr(value, "nnz")


def length(value: Any) -> int | None:
    """How many entries a part has along its first axis; None of a single number, a text or anything else."""
    shape = getattr(value, "shape", None)
    if shape is not None:
        return int(shape[0]) if len(shape) else None
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Sequence):
        return len(value) if hasattr(value, "to_numpy") and hasattr(value, "__len__") else None
    return len(value)


def is_missing(cell: Any) -> bool:
    """Whether a cell stands for nothing: None, NaN, or pandas' NA and NaT."""
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(cell, (float, np.floating)) and bool(cell != cell)


def _stacked_tensors(tensors: Sequence[Any], torch: Any) -> Any:
    if len({tuple(getattr(tensor, "shape", ())) for tensor in tensors}) > 1:
        raise UnusableError("a list of tensors of different shapes")
    return torch.stack([tensor.detach() for tensor in tensors])


def _of_tensor(tensor: Any, torch: Any) -> Cells:
    if tensor.is_complex():
        raise UnusableError("complex numbers")
    if tensor.is_quantized:
        raise UnusableError("a quantized tensor")
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if tensor.dtype == torch.bool:
        return Cells(tensor.to(torch.int64), TRUTH)
    return Cells(tensor, NUMBERS if tensor.is_floating_point() else WHOLE)


def _of_masked(array: np.ma.MaskedArray[Any, Any]) -> Cells:
    cells, mask = np.asarray(array.data).astype(object), np.ma.getmaskarray(array)
    if mask.shape != cells.shape:  # NumPy's own product of a masked matrix and a vector has such
        raise UnusableError("a masked array whose mask has another shape")
    cells[mask] = None
    return _of_objects(cells)


def _of_list(values: Sequence[Any]) -> Cells:
    try:
        array = np.asarray(values)
        if array.dtype.kind in "US":  # of text, or of text and numbers, which NumPy writes as text
            array = np.array(values, dtype=object)
    except ValueError:
        raise UnusableError("a ragged list") from None
    return _of_numpy(array)


def _of_numpy(array: NDArray[Any]) -> Cells:
    kind = array.dtype.kind
    if kind in "iu":
        return Cells(array, WHOLE)
    if kind == "f":
        return Cells(array, NUMBERS)
    if kind == "b":
        return Cells(array.astype(np.int64), TRUTH)
    if kind in "UT":
        return Cells(array, TEXT)
    if kind == "S":
        return _of_objects(array.astype(object))
    if kind == "O":
        return _of_objects(array)
    raise UnusableError(
        {"c": "complex numbers", "M": "dates", "m": "durations"}.get(kind, f"an array of {array.dtype}")
    )


def _of_objects(array: NDArray[Any]) -> Cells:
    cells = array.ravel().tolist()
    told = [cell for cell in cells if not is_missing(cell)]
    if told and all(isinstance(cell, (np.ndarray, list, tuple, Mapping)) or is_tensor(cell) for cell in told):
        return _of_nested(cells, array.shape)
    kinds = {_kind(cell) for cell in told}
    if kinds == {TEXT}:
        text = np.empty(len(cells), dtype=object)
        text[:] = [None if is_missing(cell) else _decoded(cell) for cell in cells]
        return Cells(text.reshape(array.shape), TEXT)
    if kinds and not kinds <= {TRUTH, WHOLE, NUMBERS}:
        raise UnusableError(" and ".join(sorted(kinds)))
    is_whole = bool(kinds) and NUMBERS not in kinds
    if is_whole and any(abs(int(cell)) > _EXACT for cell in told):  # ids that float64 would run together
        whole = np.empty(len(cells), dtype=object)
        whole[:] = [None if is_missing(cell) else int(cell) for cell in cells]
        return Cells(whole.reshape(array.shape), WHOLE)
    numbers = np.array([np.nan if is_missing(cell) else float(cell) for cell in cells]).reshape(array.shape)
    if is_whole and len(told) == len(cells):
        return Cells(numbers.astype(np.int64), TRUTH if kinds == {TRUTH} else WHOLE)
    return Cells(numbers, TRUTH if kinds == {TRUTH} else WHOLE if is_whole else NUMBERS)


def is_tensor(cell: Any) -> bool:
    """Whether this is a torch tensor."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(cell, torch.Tensor)


def to_numpy(array: Any) -> NDArray[Any]:
    """An array, or a torch tensor on any device, as NumPy's; NumPy has no bfloat16."""
    if not is_tensor(array):
        return np.asarray(array)
    array = array.detach().cpu()
    return np.asarray(array.float() if str(array.dtype) == "torch.bfloat16" else array)


def _of_nested(cells: Sequence[Any], shape: tuple[int, ...]) -> Cells:
    """Cells that hold several numbers each: a list, an array or, as in ONNX' maps of probabilities, a dict."""
    if any(is_missing(cell) for cell in cells):
        raise UnusableError("lists and missing cells")
    if any(isinstance(cell, Mapping) for cell in cells):
        if any(not isinstance(cell, Mapping) or cell.keys() != cells[0].keys() for cell in cells):
            raise UnusableError("records that differ in their names")
        cells = [[cell[key] for key in cells[0]] for cell in cells]
    inner = [read(cell) for cell in cells]
    arrays = [to_numpy(each.array) for each in inner]
    if len({each.shape for each in arrays}) > 1:
        raise UnusableError("lists of different lengths")
    kinds = {each.kind for each in inner}
    if len(kinds) > 1 and TEXT in kinds:
        raise UnusableError("text and numbers")
    kind = kinds.pop() if len(kinds) == 1 else NUMBERS
    return Cells(np.stack(arrays).reshape(*shape, *arrays[0].shape), kind)


def _kind(cell: Any) -> str:
    if isinstance(cell, (str, bytes)):
        return TEXT
    if isinstance(cell, (bool, np.bool_)):
        return TRUTH
    if isinstance(cell, (int, np.integer)):
        return WHOLE
    if isinstance(cell, (datetime.date, datetime.time, np.datetime64)):
        return "dates"
    if isinstance(cell, (complex, np.complexfloating)) and not isinstance(cell, (float, np.floating)):
        return "complex numbers"
    try:
        float(cell)
    except (TypeError, ValueError, OverflowError):
        return f"cells of type {type_word(type(cell))}"
    return NUMBERS


def _decoded(cell: str | bytes) -> str:
    return cell.decode("utf-8", "backslashreplace") if isinstance(cell, bytes) else str(cell)
