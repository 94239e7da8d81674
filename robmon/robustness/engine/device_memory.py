"""What this process takes of a CUDA device's memory, may still take, and gives back."""

from __future__ import annotations

import sys

from robmon.errors import forget_frames
from robmon.robustness.arrays import Array, is_on_cuda


def taken_bytes(inputs: Array, at_most: bool = False) -> int:
    """What this process takes of a CUDA device's memory, now or at most since it was asked for what it takes now."""
    if not is_on_cuda(inputs):
        return 0
    import torch

    if at_most:
        return int(torch.cuda.max_memory_allocated(inputs.device))
    torch.cuda.reset_peak_memory_stats(inputs.device)
    return int(torch.cuda.memory_allocated(inputs.device))


def free_bytes(inputs: Array) -> int:
    """What this process may still take of the device's memory, within its allocator's bound, and what that keeps."""
    import torch

    held, (free, total) = torch.cuda.memory_reserved(inputs.device), torch.cuda.mem_get_info(inputs.device)
    if hasattr(torch.cuda, "get_per_process_memory_fraction"):  # older versions of torch do not tell it
        bound = int(torch.cuda.get_per_process_memory_fraction(inputs.device) * total)
        free = max(min(free, bound - held), 0)
    return int(free) + held - torch.cuda.memory_allocated(inputs.device)


def release_memory(error: BaseException | None = None) -> None:
    """Give back what the device's allocator keeps, and what the frames of an error hold on to."""
    forget_frames(error)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
