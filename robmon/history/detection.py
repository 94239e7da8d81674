"""Where the detector over time stands, as it is told and kept: enough to go on after a restart, to the bit."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from robmon.vocabulary import DetectionBasis


class Detection(BaseModel):
    """The detector over time after an assessment."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    detector: dict[str, Any] | None = None
    """As it stands, see `robmon.RegressionDetector.to_dict`; None while it is silent."""
    basis: DetectionBasis | None = None
    """What its limit comes from."""
    requests: int = 0
    """How many this assessment counted."""
    evidence: float = 0.0
    is_standing: bool = False
    tolerance: float | None = None
    detectable_ratio: float | None = None
    """Smallest ratio to the worst hour that is seen within `DETECTABLE_WITHIN` assessments like those so far."""
    span_hours: int = 0
    """Hours spanned by what is known of this version."""
    worst_hour: int | None = None
    """The baseline's worst hour, where it is more than twice as bad as the median one."""
    worst_hour_ratio: float | None = None
    """By how much the errors of the median hour would have to rise to make it the worst one."""
    is_of_other_format: bool = False
    """Whether the detector that was there is of another robmon, and so began at 0."""
    notes: list[str] = []
    problem: str = ""
    """Why no limit can be made, or why the detector that was there cannot go on."""


class DetectionRecord(BaseModel):
    """What is kept of it."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    identity: dict[str, Any]
    """What its evidence is of, by the names of `DETECTION_RESTARTS`: where one of them differs, it begins at 0."""
    found: Detection = Detection()
    since: float | None = None
    """Unix time of the assessment that began the alarm; None while none stands."""
    number: int = 0
    """Number of the assessment that was counted last."""
    counted: tuple[str, ...] = ()
    """Digests of the requests counted last, the newest last: none of them counts again."""

    @property
    def threshold(self) -> float:
        """Evidence at which an alarm begins."""
        return float(self.identity["threshold"][0])

    @property
    def version(self) -> str:
        """The version that it is of."""
        return str(self.identity["version"][0])
