"""Whether a module that is computed in another way gives the same outputs, but for how numbers are rounded."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import torch

SAME: Final = {torch.float32: 1e-4, torch.bfloat16: 0.05, torch.float16: 0.01}
"""Of the largest output, for what is computed in a dtype: outputs that differ by less are the same."""
SAME_IN_TF32: Final = 0.01
"""Likewise where float32 is computed in TF32, whose mantissa has 10 bits."""
SAME_SHARE: Final = 0.99
"""Of the outputs that must be the same: a class may change where two are as likely."""


def tolerance(dtypes: Collection[torch.dtype], device: torch.device) -> float:
    """How far apart outputs are that are the same, as a share of the largest, where these types compute on a device."""
    in_tf32 = (SAME_IN_TF32,) if device.type == "cuda" else ()
    return max((*in_tf32, *(SAME[dtype] for dtype in dtypes if dtype in SAME)), default=SAME[torch.float32])


def are_same(one: Any, other: Any, allowed: float) -> bool:
    """Whether two outputs of a module, containers of tensors, hold the same."""
    pytree = torch.utils._pytree
    (mine, shape), (theirs, other_shape) = pytree.tree_flatten(one), pytree.tree_flatten(other)
    return shape == other_shape and all(_is_same(*pair, allowed) for pair in zip(mine, theirs, strict=True))


def _is_same(one: Any, other: Any, allowed: float) -> bool:
    if not isinstance(one, torch.Tensor):
        return True  # the numbers beside the outputs
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not one.numel():
        return True
    one, other = one.double(), other.double()
    largest = float(one.abs().nan_to_num(0.0, 0.0).max())
    close = torch.isclose(one, other, rtol=allowed, atol=allowed * largest, equal_nan=True)
    return float(close.double().mean()) >= SAME_SHARE
