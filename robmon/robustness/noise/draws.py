"""The standard draws of an assessment: fixed by seed, trial and row, whatever is drawn with them at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any, Final

import array_api_compat
import numpy as np

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Array, concatenation, default_batch_rows, like, namespace, numbers, to_numpy
from robmon.robustness.features.features import Features
from robmon.robustness.noise.base import Generator, Noise

BLOCK_ROWS: Final = 256
BLOCK_NUMBERS: Final = 2**14
"""A block of rows, whose draw begins a stream of its own, has at most so many rows, and so many numbers if it has more
than one row."""
CUDA_BLOCK_ROWS: Final = 2**12
CUDA_BLOCK_NUMBERS: Final = 2**22
"""Likewise on a CUDA device, where to begin a stream takes longer than to draw numbers that nobody needs."""
SEEDS: Final = 64
"""Of so many trials the seeds of a block are drawn at once."""


def back_end_of(noise: Noise, inputs: Array) -> str:
    """What draws this noise for such inputs: `numpy`, or `torch`, its device and dtype, such as `torch cuda:0 float32`.

    Half precision is drawn in single: what is added to it is rounded once.
    """
    if not (array_api_compat.is_torch_array(inputs) and noise.draws_anywhere):
        return "numpy"
    dtype = "float64" if inputs.dtype == namespace(inputs).float64 else "float32"
    return f"torch {inputs.device} {dtype}"


def can_draw(back_end: str) -> bool:
    """Whether this process can draw as that back end does."""
    if back_end == "numpy":
        return True
    if find_spec("torch") is None:
        return False
    import torch

    device = torch.device(back_end.split()[1])
    return device.type == "cpu" or (device.index or 0) < torch.cuda.device_count()


class Draws:
    """The standard draws of an assessment, each in the back end's precision: NumPy's float64, a tensor's own dtype.

    Every trial and block of rows has a stream of random numbers of its own, fixed by them and the seed (of NumPy,
    Philox: Salmon et al., SC 2011), and blocks are drawn whole, but for the last one of noise that is not robmon's. So
    the noise of a row depends neither on how rows and trials are cut into batches nor on how many follow. NumPy and
    PyTorch give different draws.

    Args:
        noise: what draws.
        inputs: shape `(n, *input_shape)`.
        features: of them, in main memory.
        seed: at least 0.
        draws_as: a back end that draws in the place of the inputs' own, where it can: two assessments that are compared
            are to have the same draws.

    Attributes:
        back_end: what draws, see `back_end_of`.
    """

    def __init__(self, noise: Noise, inputs: Array, features: Features, seed: int, draws_as: str | None = None) -> None:
        self._noise, self._inputs, self._features = noise, inputs, features
        self._key = np.random.SeedSequence(seed).generate_state(2, np.uint64)
        self._rows, *shape = (int(length) for length in inputs.shape)
        self._shape = tuple(shape)
        is_taken = draws_as is not None and noise.draws_anywhere and can_draw(draws_as)
        self.back_end = draws_as if draws_as is not None and is_taken else back_end_of(noise, inputs)
        most_rows, most_numbers = BLOCK_ROWS, BLOCK_NUMBERS
        if "cuda" in self.back_end:
            most_rows, most_numbers = CUDA_BLOCK_ROWS, CUDA_BLOCK_NUMBERS
        self._block_rows = max(1, min(most_rows, most_numbers // max(1, int(np.prod(shape)))))
        if not noise.draws_anywhere:
            self._block_rows = default_batch_rows((self._rows, *shape))
        self._seeds: dict[tuple[int, int], list[int]] = {}
        self._torch = None if self.back_end == "numpy" else _TorchGenerator(*self.back_end.split()[1:])

    def of(self, trials: Sequence[int], rows: slice) -> Array:
        """Draws of these rows in each of these trials, shape `(trials * rows, *input_shape)` or broadcasting to it.

        They are of the kind of the inputs, on their device, trial after trial.

        Raises:
            InvalidInputError: the noise draws what does not fit.
        """
        return concatenation(list(self.each(trials, rows)))

    def each(self, trials: Sequence[int], rows: slice) -> Iterator[Array]:
        """The same, trial by trial, each of shape `(rows, *input_shape)` or broadcasting to it."""
        return (concatenation(list(self._of_trial(trial, rows))) for trial in trials)

    def _of_trial(self, trial: int, rows: slice) -> Iterator[Array]:
        size = self._block_rows
        for block in range(rows.start // size, -(-rows.stop // size)):
            first = block * size
            low, high = max(rows.start - first, 0), min(rows.stop - first, size)
            count = size if self._noise.draws_anywhere else min(size, self._rows - first)
            draw = self._drawn(trial, block, (count, *self._shape))
            if draw.shape[0] == 1 < count:
                draw = namespace(draw).broadcast_to(draw, (count, *draw.shape[1:]))
            yield draw if high - low == count else draw[low:high]

    def _drawn(self, trial: int, block: int, shape: tuple[int, ...]) -> Array:
        if self._torch is not None:
            return self._beside_inputs(
                self._noise.draw(self._torch.begin(self._seed(trial, block)), shape, self._features)
            )
        stream = np.random.Generator(np.random.Philox(key=self._key, counter=[0, 0, block, trial]))
        draw = numbers(
            self._noise.draw(stream, shape, self._features),
            f"what {self._noise.name} noise draws",
        )
        if draw.ndim != len(shape) or any(a not in (1, b) for a, b in zip(draw.shape, shape, strict=True)):
            raise InvalidInputError(
                f"{self._noise.name} noise drew numbers of shape {draw.shape} for inputs of {shape}"
            )
        if not np.all(np.isfinite(draw)):
            raise InvalidInputError(f"{self._noise.name} noise drew NaN or infinite numbers: every draw must be finite")
        return like(draw, self._inputs)

    def _beside_inputs(self, draw: Array) -> Array:
        """A tensor as an array of the inputs' kind, on their device."""
        if isinstance(self._inputs, np.ndarray):
            return to_numpy(draw)
        return draw if draw.device == self._inputs.device else draw.to(self._inputs.device)

    def _seed(self, trial: int, block: int) -> int:
        """The seed of a stream of PyTorch's: one of many that are drawn at once, since to begin a Philox takes long."""
        first = trial // SEEDS
        if (block, first) not in self._seeds:
            stream = np.random.Philox(key=self._key, counter=[0, 0, block, first])
            self._seeds[block, first] = stream.random_raw(SEEDS).tolist()
        return self._seeds[block, first][trial % SEEDS]


class _TorchGenerator(Generator):
    """PyTorch's random numbers as NumPy's generator gives them, on a device and in a dtype.

    On a processor PyTorch takes the lower 32 bits of a seed, so that of tens of thousands of streams two may be alike.
    """

    def __init__(self, device: str, dtype: str) -> None:
        import torch

        self._torch, self._generator = torch, torch.Generator(device)
        self._options = {"generator": self._generator, "dtype": getattr(torch, dtype), "device": device}

    def begin(self, seed: int) -> _TorchGenerator:
        """The stream of a seed."""
        self._generator.manual_seed(seed)
        return self

    def standard_normal(self, size: tuple[int, ...]) -> Any:
        return self._torch.randn(size, **self._options)

    def random(self, size: tuple[int, ...]) -> Any:
        return self._torch.rand(size, **self._options)
