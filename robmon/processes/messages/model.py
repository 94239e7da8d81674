"""A model version: what is known of it, and its loading in the worker."""

from __future__ import annotations

from typing import Any, Literal

from robmon.models.access import EndpointAccess
from robmon.models.devices.device import DeviceUse
from robmon.processes.messages.base import Message


class ModelVersion(Message):
    """One version of a registered model (or a run's model), fetched to a local folder, or served at an endpoint."""

    name: str
    version: str
    run_id: str | None = None
    path: str = ""
    """Local folder; empty of a model at an endpoint."""
    endpoint: str | None = None
    """Prediction URL of a model that is not loaded here, but asked."""
    flavors: list[str] = []
    tags: dict[str, str] = {}
    """Tags of the registered version, as far as they are kept; see `models.registry.resolved.Resolved`."""
    commit: str | None = None
    """The commit of the code that made it, where its run tells it."""
    baseline: dict[str, Any] | None = None
    """The baseline recorded beside the model as an artifact, if any."""
    learnt: dict[str, Any] | None = None
    """The baseline that pods of this version have learnt and shared, if any."""
    learnt_before: dict[str, dict[str, Any]] = {}
    """The same of the versions that it was compared with, one after the other, as far as it inherits from them."""


class Load(Message):
    """Load a model version; the first message a worker gets, and it gets one only."""

    type: Literal["load"] = "load"
    model: ModelVersion
    access: EndpointAccess = EndpointAccess()
    device: DeviceUse = DeviceUse()
    enough_bytes: int | None = None
    """With so much of a CUDA device's memory this version has been assessed before; None: it has not."""
    threads: int
    input_dtype: str | None = None
    input_shape: list[int] | None = None
    integers: list[str] = []


class LoadedModel(Message):
    """The model is loaded and can be assessed."""

    type: Literal["loaded"] = "loaded"
    flavor: str
    device: str
    precision: str | None = None
    """What autocast computes in; None: the model computes as it is."""
    may_compile: bool = False
    """Whether it can be told to compile the model for its device."""
    compiled: bool = False
    """Whether the last assessment called what was compiled of the model."""
    mismatches: list[str] = []
    """Recorded requirements that the worker's environment does not meet, a sentence each."""
    remarks: list[str] = []
    """What of `device` is used otherwise than it was set, and why, a sentence each."""
    libraries: dict[str, str] = {}
    """Versions of Python and of the packages that compute here."""
    processor: str = ""
    """The model of the processor, where the system tells it."""


class Compile(Message):
    """Compile the loaded model for its device, once it has been assessed, and keep that where it pays."""

    type: Literal["compile"] = "compile"


class Compiled(Message):
    """What came of it."""

    type: Literal["compiled"] = "compiled"
    because: str
    """Why the model stays as it is, in words; empty where it is compiled from now on."""
    time_ratio: float | None
    """Time that a batch takes compiled, over that uncompiled; None where it was not measured."""
    seconds: float
