"""What came of stability training: candidate, control and the report with the verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from robmon.robustness.jsonable import jsonable

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Stabilised:
    """The outcome of stability training: a candidate and the verdict on it.

    Attributes:
        module: the candidate, in the mode of the module that was given.
        control: the same module, trained for as long on the same rows in the same order, without noise.
        passed: whether the candidate passes.
        report: how it was trained, and the verdict with its numbers: see docs/reference/result-json.md.
    """

    module: torch.nn.Module = field(repr=False)
    control: torch.nn.Module = field(repr=False)
    passed: bool
    report: dict[str, Any] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON; infinite numbers are `+Inf` and `-Inf`."""
        content: dict[str, Any] = jsonable(self.report)
        return content

    def plot(self) -> Figure:
        """Scores against level of the original, the control and the candidate, with the verdict below; needs
        `robmon[plot]`.
        """
        from robmon.report.plot_stability import plot_stability

        return plot_stability(self.report)

    def __str__(self) -> str:
        from robmon.report.stability import text

        return text(self.report)
