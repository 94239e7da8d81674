"""Noise: its standard draw, its scale, and how a level of it perturbs inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Array, Float64, as_float64, batches, is_floating, like, namespace, to_numpy

Draw = Callable[[np.random.Generator, tuple[int, ...]], Float64]


def _gaussian(generator: np.random.Generator, shape: tuple[int, ...]) -> Float64:
    return generator.standard_normal(shape)


@dataclass(frozen=True)
class Noise:
    """A noise model: additive, `x + level * scale * z`, with `z` drawn from a standard distribution.

    Attributes:
        name: what results and metrics call it.
        draw: `draw(generator, shape) -> z` in float64, mean 0 and variance 1. It must take from the generator row after
            row, as NumPy's own distributions do, so that two short draws equal one long one.

    >>> def coin(generator, shape):
    ...     return generator.choice([-1.0, 1.0], size=shape)
    >>> Noise("coin", coin).name
    'coin'
    """

    name: str
    draw: Draw = _gaussian


NOISE_MODELS = {"gaussian": Noise("gaussian", _gaussian)}


def noise_model(noise: str | Noise) -> Noise:
    """The noise model of this name; a `Noise` is returned as it is.

    Raises:
        InvalidInputError: no noise model has this name.
    """
    if isinstance(noise, Noise):
        return noise
    if noise not in NOISE_MODELS:
        raise InvalidInputError(
            f"noise {noise!r} is not known: it is a robmon.Noise or one of {', '.join(NOISE_MODELS)}"
        )
    return NOISE_MODELS[noise]


def trial_generator(seed: int, trial: int) -> np.random.Generator:
    """The random numbers of one trial: a stream of its own, fixed by seed and trial, used row after row.

    So the noise of a row depends neither on how the rows are cut into batches nor on how many follow.
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(trial,))))


def perturb(inputs: Array, step: Array, level: float) -> Array:
    """`inputs + level * step`, computed in float64 and cast once to the dtype of `inputs`; same shape.

    `step` is `scale * z` in float64.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return namespace(inputs).astype(as_float64(inputs) + level * step, inputs.dtype)


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """Which axis of inputs `(n, ...)` counts features: 1 for rank 2, None for rank 1, the channel axis for more.

    Channels are on axis 1, or on the last axis where it is at most 4 long and axis 1 is not (images as `(n, h, w, c)`).

    >>> channel_axis((256, 3, 32, 32)), channel_axis((256, 32, 32, 3)), channel_axis((256, 10))
    (1, 3, 1)
    """
    if len(shape) < 2:
        return None
    last = len(shape) - 1
    return last if len(shape) > 2 and shape[last] <= 4 < shape[1] else 1


def scale_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the scale for inputs of `shape`, `(n, *input_shape)`: one number a feature, or a channel.

    >>> scale_shape((256, 3, 32, 32)), scale_shape((256, 10)), scale_shape((256,))
    ((3, 1, 1), (10,), ())
    """
    axis = channel_axis(shape)
    return tuple(length if index == axis else 1 for index, length in enumerate(shape) if index > 0)


def feature_scale(inputs: Array, batch_rows: int = 1024) -> Float64:
    """Standard deviation (divisor n) of each feature, or channel, over the finite inputs; shape `scale_shape(...)`.

    A feature that is constant but for rounding, or never finite, has scale 0.

    >>> feature_scale(np.array([[1.0, 5.0], [3.0, 5.0]])).tolist()
    [1.0, 0.0]
    """
    shape = tuple(inputs.shape)
    axis = channel_axis(shape)
    others = tuple(index for index in range(len(shape)) if index != axis)
    count, total, squares = (np.zeros(()) for _ in range(3))

    def summed(values: Array) -> Float64:
        return np.asarray(to_numpy(namespace(values).sum(values, axis=others)))

    for rows in batches(shape[0], batch_rows):
        values, finite = _finite(inputs[rows])
        count = count + summed(as_float64(finite))
        total = total + summed(values)
    mean = np.asarray(total / np.maximum(count, 1.0))
    centre = like(mean.reshape(scale_shape(shape)), inputs)
    for rows in batches(shape[0], batch_rows):
        values, finite = _finite(inputs[rows])
        squares = squares + summed(((values - centre) * as_float64(finite)) ** 2)
    deviation = np.sqrt(squares / np.maximum(count, 1.0))
    rounding = 1e-14 * np.abs(mean)
    return np.asarray(np.where(deviation > rounding, deviation, 0.0)).reshape(scale_shape(shape))


def _finite(values: Array) -> tuple[Array, Array]:
    xp = namespace(values)
    finite = xp.isfinite(values)
    return as_float64(xp.where(finite, values, xp.zeros_like(values))), finite


def resolve_scale(inputs: Array, scale: Array | float | None) -> Float64:
    """The scale as float64 that broadcasts to the shape of one input row.

    None measures it on the inputs (`feature_scale`). A list with one number a channel is understood for inputs of rank
    3 and more where it does not broadcast by itself.

    Raises:
        InvalidInputError: the inputs are not floating or empty, the scale does not fit, or no feature can be perturbed.
    """
    shape = tuple(inputs.shape)
    if not is_floating(inputs):
        raise InvalidInputError(
            f"inputs of dtype {inputs.dtype} cannot be perturbed: floating-point numbers are needed"
        )
    if len(shape) == 0 or 0 in shape:
        raise InvalidInputError(
            f"inputs of shape {shape} hold nothing to perturb: rows and floating features are needed"
        )
    result = feature_scale(inputs) if scale is None else _fitting(np.asarray(to_numpy(scale), dtype=np.float64), shape)
    if not np.all(np.isfinite(result)) or np.any(result < 0):
        raise InvalidInputError("scale must hold finite numbers of at least 0")
    if not np.any(result > 0):
        raise InvalidInputError("no feature can be perturbed: every scale is 0 (all floating features are constant)")
    return result


def _fitting(scale: Float64, shape: tuple[int, ...]) -> Float64:
    for candidate in (scale.shape, scale_shape(shape)):
        if int(np.prod(candidate)) != scale.size:
            continue
        try:
            if np.broadcast_shapes(candidate, shape[1:]) == shape[1:]:
                return scale.reshape(candidate)
        except ValueError:
            continue
    raise InvalidInputError(f"scale of shape {scale.shape} does not broadcast to one input of shape {shape[1:]}")
