"""Norms of linear layers as maps of rows, l2 and l-infinity: exact, or an upper bound; never an estimate from below.

A power iteration approaches a norm from below, so that nothing here is one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import torch

Norm = Literal["inf", "2"]
CHUNK: Final = 1 << 22
"""Numbers of matrices that are decomposed at once."""


def matrix_norm(matrix: torch.Tensor, norm: Norm) -> float:
    """Norm of the map `x -> matrix @ x`, both sides in one norm: the largest singular value, or row sum.

    >>> matrix_norm(torch.tensor([[3.0, 4.0]]).double(), "2"), matrix_norm(torch.tensor([[3.0, -4.0]]).double(), "inf")
    (5.0, 7.0)
    """
    if not matrix.numel():
        return 0.0
    if norm == "inf":
        return float(matrix.abs().sum(dim=-1).max())
    return float(torch.linalg.svdvals(matrix).max())


def rows_norm(rows: torch.Tensor, norm: Norm) -> torch.Tensor:
    """How much each row, as a linear function, may change where its input moves by 1: its dual norm."""
    return rows.abs().sum(dim=-1) if norm == "inf" else torch.linalg.vector_norm(rows, dim=-1)


def axis_norm(operator: Callable[..., torch.Tensor], length: int, norm: Norm, *of: Any) -> float:
    """Norm of a linear map of one axis, given as a function of `(rows, 1, length)` and of further arguments."""
    columns = operator(torch.eye(length, dtype=torch.float64)[:, None], *of)[:, 0]
    return matrix_norm(columns.T, norm)


def convolution_norm(
    weight: torch.Tensor,
    spatial: Sequence[int],
    *,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    norm: Norm,
    is_circular: bool = False,
) -> float:
    """Norm of a convolution: exact where it is circular, else an upper bound.

    One padded with zeros is a circular one on a larger torus, whose further inputs are 0 and whose further outputs are
    left out, both of which lessen norms; a torus is large enough where no window goes round it to other inputs.
    Circular ones are, at each frequency, a matrix of channels (Sedghi, Gupta & Long, ICLR 2019); a stride makes more
    channels of fewer places first. In l-infinity: the largest sum of a filter's weights.

    Args:
        weight: `(out, in / groups, *kernel)`, float64.
        spatial: lengths of the input's axes.
        stride: of each axis.
        padding: zeros on each side of it; of a circular one not used.
        dilation: of each axis.
        groups: of channels.
        norm: of both sides.
        is_circular: whether inputs go round, with as many outputs as inputs, over the stride.
    """
    if norm == "inf":
        return float(weight.abs().flatten(1).sum(dim=1).max())
    kernel = _in_phases(_dilated(weight, dilation), stride)
    reach = [length * step for length, step in zip(kernel.shape[2:], stride, strict=True)]
    sizes = spatial if is_circular else [length + zeros for length, zeros in zip(spatial, padding, strict=True)]
    torus = [max(math.ceil(size / step), least // step) for size, step, least in zip(sizes, stride, reach, strict=True)]
    largest = 0.0
    for part in kernel.chunk(groups):
        spectrum = torch.fft.rfftn(part, s=torus)  # its other half is that of a real map
        matrices = spectrum.flatten(2).permute(2, 0, 1)
        count = max(1, CHUNK // max(1, matrices[0].numel()))
        largest = max([largest, *(float(torch.linalg.svdvals(each).max()) for each in matrices.split(count))])
    return largest


def _dilated(weight: torch.Tensor, dilation: Sequence[int]) -> torch.Tensor:
    lengths = [step * (length - 1) + 1 for length, step in zip(weight.shape[2:], dilation, strict=True)]
    spread = weight.new_zeros(*weight.shape[:2], *lengths)
    places: tuple[Any, ...] = (..., *(slice(None, None, step) for step in dilation))
    spread[places] = weight
    return spread


def _in_phases(weight: torch.Tensor, stride: Sequence[int]) -> torch.Tensor:
    """The kernel on inputs of which each phase of the stride is a channel of its own: a stride of 1 does the same."""
    for axis, step in enumerate(stride, start=2):
        missing = -weight.shape[axis] % step
        shape = [*weight.shape]
        shape[axis] = missing
        weight = torch.cat([weight, weight.new_zeros(shape)], dim=axis)
        phases = torch.unflatten(weight, axis, (-1, step)).movedim(axis + 1, 2)
        weight = phases.flatten(1, 2)
    return weight


def overlaps(length: int, kernel: int, stride: int, padding: int, dilation: int, *, ceil_mode: bool = False) -> int:
    """In how many windows of a pool of one axis the cell that is in most of them is.

    >>> overlaps(8, 2, 2, 0, 1), overlaps(8, 3, 2, 1, 1), overlaps(8, 3, 1, 1, 1)
    (1, 2, 3)
    """
    beyond = length + 2 * padding - dilation * (kernel - 1) - 1
    count = (math.ceil(beyond / stride) if ceil_mode else beyond // stride) + 1
    seen = [0] * length
    for window in range(count):
        for tap in range(kernel):
            cell = window * stride + tap * dilation - padding
            if 0 <= cell < length:
                seen[cell] += 1
    return max(seen)


def adaptive_overlaps(length: int, count: int) -> int:
    """The same for a pool that has `count` windows.

    >>> adaptive_overlaps(8, 4), adaptive_overlaps(7, 3)
    (1, 2)
    """
    seen = [0] * length
    for window in range(count):
        for cell in range(window * length // count, -(-(window + 1) * length // count)):
            seen[cell] += 1
    return max(seen)
