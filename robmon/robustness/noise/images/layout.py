"""How arrays of inputs are pictures: where their channels stand, and what black and white are. Needs no NumPy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from numbers import Real
from typing import Any, Final, Self

from robmon.errors import InvalidInputError
from robmon.robustness.checks import check_word
from robmon.vocabulary import JPEG_SUBSAMPLING, ImageChannels, JpegSubsampling

CHANNEL_COUNTS: Final = (1, 3, 4)
"""Grey, colours, colours and opacity."""
ADVICE: Final = "(images.channels; --image-channels of a command; layout=ImageLayout(channels=...) in Python)"
RANGE_ADVICE: Final = "(images.range; --image-range of a command; layout=ImageLayout(range=(low, high)) in Python)"


@dataclass(frozen=True)
class ImageLayout:
    """How inputs of rank 4 are pictures: where the channels are, and what black and white are.

    Attributes:
        channels: where the channels are: `first` as in `(rows, channels, height, width)`, or `last`; None: by the
            shape.
        range: black and white, as the picture has them before any normalisation; None: the range of an integer dtype, 0
            to 255 for `uint8`. It is never guessed from the data: a dark picture has no white.
        mean, std: where the client normalises pictures before the request, `(picture - mean) / std`, one number or one
            per channel; None: it does not. Leave them out where the model itself normalises.
        jpeg_subsampling: of the colours in JPEG: `4:2:0`, as cameras and web sites use, `4:2:2`, or `4:4:4` (none).

    Raises:
        InvalidInputError: one of them cannot be used.

    >>> ImageLayout("last", (0, 255)).axis
    -1
    """

    channels: ImageChannels | None = "first"
    range: tuple[float, float] | None = (0.0, 1.0)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    jpeg_subsampling: JpegSubsampling = "4:2:0"

    def __post_init__(self) -> None:
        if self.channels not in ("first", "last", None):
            raise InvalidInputError(f"channels of images stand first or last, not {self.channels!r}")
        if self.range is not None:
            ends = _numbers(self.range, "the range of images")
            if len(ends) != 2 or not ends[0] < ends[1]:
                raise InvalidInputError(f"the range of images is two numbers, black and then white, not {self.range!r}")
            object.__setattr__(self, "range", ends)
        for name in ("mean", "std"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _numbers(getattr(self, name), f"{name} of images"))
        check_word("jpeg_subsampling", self.jpeg_subsampling, JPEG_SUBSAMPLING)
        if any(deviation <= 0 for deviation in self.std or ()):
            raise InvalidInputError("std of images must be above 0")

    @property
    def axis(self) -> int | None:
        """Which axis of the inputs counts channels; None: not stated."""
        return None if self.channels is None else 1 if self.channels == "first" else -1

    def channel_axis(self, shape: Sequence[int]) -> int:
        """Which axis of inputs of this shape counts channels, from the front.

        Raises:
            InvalidInputError: the inputs are no pictures, or nothing decides which axis it is.

        >>> ImageLayout(channels=None).channel_axis((8, 32, 32, 3))
        3
        """
        said = ", ".join(map(str, ("rows", *shape[1:])))
        if len(shape) != 4:
            raise InvalidInputError(
                f"inputs of shape ({said}) are no images: those are (rows, channels, height, width) or (rows, height, "
                "width, channels)"
            )
        fitting = [axis for axis in (1, 3) if shape[axis] in CHANNEL_COUNTS]
        if self.channels is None and len(fitting) != 1:
            raise InvalidInputError(
                f"nothing decides which axis of images of shape ({said}) counts channels: say first or last {ADVICE}"
            )
        axis = fitting[0] if self.axis is None else self.axis % 4
        if shape[axis] not in CHANNEL_COUNTS:
            raise InvalidInputError(
                f"images of shape ({said}) with channels {self.channels} have {shape[axis]} of them, not 1, 3 or 4: "
                f"say where they stand {ADVICE}"
            )
        for name in ("mean", "std"):
            given = getattr(self, name)
            if given is not None and len(given) not in (1, shape[axis]):
                raise InvalidInputError(f"{len(given)} numbers are no {name} of images of {shape[axis]} channels")
        return axis

    @property
    def ends(self) -> tuple[float, float]:
        """Black and white.

        Raises:
            InvalidInputError: nothing says what they are.
        """
        if self.range is None:
            raise InvalidInputError(
                f"what black and white are is not known, and never guessed from the data: say it {RANGE_ADVICE}"
            )
        return self.range

    def check_range_of_normalised(self) -> None:
        """Refuse pictures that clients normalise, floating-point numbers therefore, where nothing says the range.

        Raises:
            InvalidInputError: so it is.

        >>> ImageLayout(range=(0, 255), mean=(127.0,)).check_range_of_normalised()
        """
        if self.range is None and (self.mean is not None or self.std is not None):
            raise InvalidInputError(
                "images that clients normalise are floating-point numbers, which do not tell what black and white were "
                f"before: say it {RANGE_ADVICE}"
            )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`.

        Raises:
            InvalidInputError: the content is none of a layout.
        """
        if not isinstance(content, Mapping) or set(content) - {each.name for each in fields(cls)}:
            raise InvalidInputError("that is no layout of images")
        return cls(**content)


def _numbers(given: Any, what: str) -> tuple[float, ...]:
    each = (given,) if isinstance(given, Real) else given
    if isinstance(each, str) or not isinstance(each, Sequence):
        raise InvalidInputError(f"{what} must be numbers, not {given!r}")
    if any(isinstance(number, bool) or not isinstance(number, Real) or not math.isfinite(number) for number in each):
        raise InvalidInputError(f"{what} must be finite numbers, not {given!r}")
    return tuple(float(number) for number in each)
