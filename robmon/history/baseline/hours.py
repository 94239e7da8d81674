"""The hours of row errors in a baseline, from which limits in time are made: under which terms they were gathered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from robmon.drift.hourly import HourlyErrors
from robmon.errors import InvalidInputError


@dataclass(frozen=True)
class HoursTerms:
    """What makes errors of one hour comparable with those of another.

    Attributes:
        run_id: of the version: numbers begin again when a model is made anew.
        noise, level: under which they were measured.
        accepted_at: Unix time at which a person accepted the version as it was then; None: nobody did.
    """

    run_id: str | None
    noise: str
    level: float
    accepted_at: float | None = None


@dataclass(frozen=True)
class BaselineHours:
    """Errors by hour, their terms, and the hours that a person has left out."""

    terms: HoursTerms
    errors: HourlyErrors
    left_out: frozenset[int] = field(default_factory=frozenset)

    @property
    def usable(self) -> HourlyErrors:
        """Without the hours that are left out."""
        errors = self.errors
        for hour in self.left_out & set(errors.hours):
            errors = errors.without_hour(hour)
        return errors

    @property
    def last_hour(self) -> int:
        """The newest; -1 where there is none."""
        return max(self.errors.hours, default=-1)

    def leaving_out(self, hour: int) -> BaselineHours:
        """Without one more hour."""
        return replace(self, left_out=self.left_out | {hour})

    def before(self, hour: int) -> BaselineHours:
        """The hours that were over when that one began."""
        errors = self.errors
        for later in [each for each in errors.hours if each >= hour]:
            errors = errors.without_hour(later)
        return replace(self, errors=errors)

    def merged(self, other: BaselineHours) -> BaselineHours:
        """Rows of both, which have nothing in common: of two pods, or of one at two times.

        Raises:
            InvalidInputError: they are not of the same terms, or of another score.
        """
        if other.terms != self.terms:
            raise InvalidInputError("hours that were gathered under other terms cannot be merged")
        return replace(self, errors=self.errors.merged(other.errors), left_out=self.left_out | other.left_out)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {**vars(self.terms), "left_out": sorted(self.left_out), "errors": self.errors.to_dict()}

    @classmethod
    def from_dict(cls, data: Any) -> BaselineHours:
        """Inverse of `to_dict`.

        Raises:
            InvalidInputError: it is no such dictionary.
        """
        try:
            run_id, accepted_at = data["run_id"], data["accepted_at"]
            terms = HoursTerms(
                None if run_id is None else str(run_id),
                str(data["noise"]),
                float(data["level"]),
                None if accepted_at is None else float(accepted_at),
            )
            left_out = frozenset(int(hour) for hour in data["left_out"])
            return cls(terms, HourlyErrors.from_dict(data["errors"]), left_out)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise InvalidInputError("the hours of the baseline are damaged: record it again") from None


def hours_of(baseline: Mapping[str, Any], terms: HoursTerms | None = None) -> BaselineHours | None:
    """The hours in a baseline; None where it has none, or none of those terms.

    Raises:
        InvalidInputError: they are damaged.
    """
    content = baseline.get("hourly")
    hours = None if content is None else BaselineHours.from_dict(content)
    return None if hours is None or (terms is not None and hours.terms != terms) else hours
