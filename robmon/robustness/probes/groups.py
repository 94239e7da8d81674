"""Groups of features, between which a noise error is shared out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64
from robmon.robustness.sentences import some_of
from robmon.vocabulary import OTHERS

MOST_GROUPS: Final = 8
"""Where the owner names none: features, or the largest of them and all others together."""
NAMED: Final = 10
"""Most features that a sentence names."""


@dataclass(frozen=True, eq=False)
class FeatureGroups:
    """Features in groups, each in one.

    Attributes:
        names: of the groups.
        of_feature: shape `(features,)`, the group of each; -1 for features that noise does not move.
        features: names of the features.
    """

    names: tuple[str, ...]
    of_feature: NDArray[np.intp]
    features: tuple[str, ...]

    @property
    def members(self) -> dict[str, tuple[str, ...]]:
        """The features of each group, by name."""
        return {
            name: tuple(self.features[index] for index in np.flatnonzero(self.of_feature == group))
            for group, name in enumerate(self.names)
        }


def each_alone(features: Sequence[str], is_moved: NDArray[np.bool_]) -> FeatureGroups:
    """Every feature that noise moves a group of its own."""
    of_feature = np.where(is_moved, np.cumsum(is_moved) - 1, -1)
    names = [name for name, moved in zip(features, is_moved, strict=True) if moved]
    return FeatureGroups(tuple(names), of_feature, tuple(features))


def largest_alone(features: Sequence[str], is_moved: NDArray[np.bool_], sizes: Float64) -> FeatureGroups:
    """The features of the largest `sizes` alone, and all others together.

    >>> largest_alone(list("abcdefghij"), np.ones(10, dtype=bool), np.arange(10.0)).members["all others"]
    ('a', 'b', 'c')
    """
    order = np.argsort(-np.where(is_moved, sizes, -np.inf), kind="stable")[: MOST_GROUPS - 1]
    return owners({features[index]: [int(index)] for index in order}, features, is_moved)


def owners(
    groups: Mapping[str, Sequence[str | int]], features: Sequence[str], is_moved: NDArray[np.bool_]
) -> FeatureGroups:
    """The groups that the owner names; features in none of them are together `all others`.

    Args:
        groups: features of each, by name or position.
        features: names of all features that may be moved.
        is_moved: shape `(features,)`, which noise moves.

    Raises:
        InvalidInputError: there is no group, one is empty or called `all others`, or names a feature that is not there
            or is in another group too.

    >>> groups = owners({"left": ["a", 1]}, ["a", "b", "c"], np.array([True, True, True]))
    >>> groups.names, groups.of_feature.tolist()
    (('left', 'all others'), [0, 0, 1])
    """
    if not isinstance(groups, Mapping) or not groups:
        what = f"not {type(groups).__name__}" if groups else "this is empty"
        raise InvalidInputError(f"groups of features are a dict, such as {{'sensors': ['left', 'right']}}: {what}")
    positions = {name: index for index, name in enumerate(features)}
    of_feature = np.full(len(features), -1, dtype=np.intp)
    for number, (group, members) in enumerate(groups.items()):
        if group == OTHERS or not group:
            raise InvalidInputError(f"a group of features cannot be called {group!r}: that are those in no group")
        if isinstance(members, str) or not len(members):
            raise InvalidInputError(f"group {group!r} must be a list of features, with at least one in it")
        for member in members:
            index = _position(member, positions)
            if of_feature[index] >= 0:
                raise InvalidInputError(f"feature {features[index]!r} is in two groups, or twice in one")
            of_feature[index] = number
    names = tuple(groups)
    rest = is_moved & (of_feature < 0)
    if rest.any():
        of_feature[rest], names = len(names), (*names, OTHERS)
    return FeatureGroups(names, of_feature, tuple(features))


def _position(member: str | int, positions: Mapping[str, int]) -> int:
    if isinstance(member, str) and member in positions:
        return positions[member]
    if isinstance(member, (int, np.integer)) and not isinstance(member, bool) and 0 <= member < len(positions):
        return int(member)
    raise InvalidInputError(
        f"{member!r} is not one of the features that noise can move: those are {some_of(positions, NAMED)}"
    )
