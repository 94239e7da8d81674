"""The worker's share of a CUDA device. The device is a fake: it counts as the driver, torch and NVML do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import mlflow.pytorch
import pytest
import torch

from robmon.errors import DeviceUnavailableError, PredictionError
from robmon.models.devices.device import DeviceUse
from robmon.models.devices.nvml import Nvml, open_nvml
from robmon.models.loading import load
from robmon.models.outputs.outputs import OutputReader
from robmon.models.served.predictor import predictor_of
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.every_process import Rejections
from robmon.processes.messages.model import Load, ModelVersion
from robmon.worker import __main__ as worker
from robmon.worker.device_guest import CONTEXT_BYTES, GIB, MEMORY_SECONDS, UTILIZATION_SECONDS, DeviceGuest, open_device
from robmon.worker.failing import failure
from robmon.worker.model_here import ModelHere
from tests.mlflow_client import quiet_mlflow
from tests.models.conftest import tensor
from tests.worker.test_evaluation import question

MIB = 2**20


@dataclass
class FakeDevice:
    """Others hold `others`, this process what it has of context, tensors, unused cache, and an arena beside torch."""

    others: int = 0
    total_bytes: int = 80 * GIB
    context: int = 600 * MIB
    tensors: int = 0
    cache: int = 0
    arena: int = 0
    nvml: Literal["process", "device", "none"] = "process"
    nvml_problem: str = ""
    busy: Iterator[float | None] = field(default_factory=lambda: iter(()))
    name: str = "cuda:0"
    is_open: bool = False
    bound: int | None = None
    gave_back: int = 0

    @property
    def held(self) -> int:
        return (self.context if self.is_open else 0) + self.tensors + self.cache + self.arena

    def nvml_free_bytes(self) -> int | None:
        return None if self.nvml == "none" else self.total_bytes - self.others - self.held

    def open_context(self) -> None:
        self.is_open = True

    def free_bytes(self) -> int:
        assert self.is_open, "the driver tells nothing without a context"
        return self.total_bytes - self.others - self.held

    def own_bytes(self) -> int | None:
        return self.held if self.nvml == "process" and self.is_open else None

    def allocator_bytes(self) -> int:
        return self.tensors + self.cache

    def peak_allocator_bytes(self) -> int:
        return self.tensors + self.cache

    def bound_allocator(self, most_bytes: int) -> None:
        self.bound = most_bytes

    def give_back(self) -> None:
        self.cache, self.gave_back = 0, self.gave_back + 1

    def utilization(self) -> float | None:
        return next(self.busy)


class Clock:
    """Time that passes by sleeping, in which something may happen."""

    def __init__(self, then: Callable[[float], None] = lambda seconds: None) -> None:
        self.seconds = 0.0
        self._then = then

    def __call__(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self._then(self.seconds)


def guest_of(device: FakeDevice, clock: Clock | None = None, **use: Any) -> DeviceGuest:
    clock = clock or Clock()
    return DeviceGuest(device, DeviceUse(**{"memory_fraction": 0.2} | use), clock=clock, sleep=clock.sleep)


@pytest.mark.parametrize("nvml", ["process", "device", "none"])
@pytest.mark.parametrize("fraction", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("others", [0, 40 * GIB, 60 * GIB])
def test_a_guest_that_takes_all_it_may_keeps_to_its_share(others: int, fraction: float, nvml: Any) -> None:
    """All that the driver counts for it is within the share of what would be free, and the reserve stays."""
    device = FakeDevice(others, nvml=nvml, context=CONTEXT_BYTES)
    guest = guest_of(device, memory_fraction=fraction)
    guest.settle()
    device.tensors = 100 * MIB
    with guest.assessing():
        assert device.bound is not None and device.bound > device.tensors
        device.cache = device.bound - device.tensors
        share = fraction * (device.total_bytes - others)
        assert device.held <= share
        assert device.free_bytes() >= 4 * GIB, "5 % of 80 GiB"
        assert device.held >= 0.99 * share or device.free_bytes() <= 4.01 * GIB, "nor does it take less than it may"
    assert device.cache == 0, "the neighbour has it again"
    assert guest.used_bytes == CONTEXT_BYTES + device.bound


def test_an_arena_beside_torch_is_paid_from_the_share() -> None:
    device = FakeDevice()
    guest = guest_of(device)
    guest.settle()
    before = device.bound
    device.arena = 3 * GIB
    with guest.assessing():
        assert before is not None and device.bound is not None
        assert before - device.bound == pytest.approx(3 * GIB, abs=2)
        device.arena = 5 * GIB
    assert guest.used_bytes == device.context + 5 * GIB, "it may grow meanwhile"


def test_the_context_is_what_vanished_while_it_was_opened() -> None:
    for context, counted in {600 * MIB: 600 * MIB, 90 * GIB: 4 * CONTEXT_BYTES, 0: CONTEXT_BYTES // 2}.items():
        device = FakeDevice(nvml="device", context=context, total_bytes=200 * GIB)
        guest = guest_of(device)
        guest.settle()
        with guest.assessing():
            pass
        assert guest.used_bytes == counted


def test_a_process_of_the_same_id_elsewhere_is_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container with process ids of its own NVML may tell the node's."""
    device = FakeDevice()
    monkeypatch.setattr(device, "own_bytes", lambda: 30 * GIB)
    guest_of(device).settle()
    assert device.bound == pytest.approx(0.2 * 80 * GIB - device.context, abs=2)


@pytest.mark.parametrize("nvml", ["process", "device", "none"])
def test_a_neighbour_that_needs_the_memory_has_it(nvml: Any) -> None:
    device = FakeDevice(60 * GIB, nvml=nvml)
    guest = guest_of(device)
    guest.settle()
    device.tensors = 2 * GIB
    with guest.assessing():
        pass
    device.others = 76 * GIB
    with pytest.raises(DeviceUnavailableError, match=r"^cuda:0 has 1\.4 GiB of 80\.0 GiB free") as caught:
        guest.assessing().__enter__()
    assert caught.value.reason == "device_full"
    assert "device.memory_fraction is 0.2, and 4.0 GiB stay free" in str(caught.value)
    assert str(caught.value).endswith("hold 2.6 GiB" if nvml != "none" else "hold 2.5 GiB")
    device.others = 40 * GIB
    with guest.assessing():
        assert device.bound == pytest.approx(0.2 * 40 * GIB - device.context, abs=110 * MIB)


@pytest.mark.parametrize("nvml", ["process", "none"])
def test_no_context_is_opened_on_a_full_device_where_nvml_tells(nvml: Any) -> None:
    clock = Clock()
    device = FakeDevice(78 * GIB, nvml=nvml)
    with pytest.raises(DeviceUnavailableError, match="CUDA's context alone takes") as caught:
        guest_of(device, clock).settle()
    assert (caught.value.reason, device.is_open) == ("device_full", nvml == "none")
    assert MEMORY_SECONDS <= clock.seconds <= MEMORY_SECONDS + 1


@pytest.mark.parametrize("nvml", ["process", "device", "none"])
def test_a_worker_starts_when_the_memory_of_the_one_before_is_back(nvml: Any) -> None:
    device = FakeDevice(79 * GIB, nvml=nvml)

    def release(seconds: float) -> None:
        if seconds >= 4:
            device.others = 0

    clock = Clock(release)
    guest_of(device, clock).settle()
    assert 4 <= clock.seconds < 5
    assert device.bound is not None and device.bound > 15 * GIB


def test_what_it_held_is_given_back_after_a_failure_too() -> None:
    device = FakeDevice()
    guest = guest_of(device)
    guest.settle()
    with suppress(RuntimeError), guest.assessing():
        device.cache = GIB
        raise RuntimeError
    assert device.cache == 0
    assert guest.used_bytes == device.context + GIB


# --- time -------------------------------------------------------------------------------------------------------------


def settled(device: FakeDevice, clock: Clock, max_utilization: float | None = 0.3) -> DeviceGuest:
    guest = guest_of(device, clock, max_utilization=max_utilization)
    guest.settle()
    return guest


def test_a_device_that_others_leave_idle_is_used_soon() -> None:
    clock = Clock()
    with settled(FakeDevice(busy=iter([0.8, 0.0, 0.0])), clock).assessing():
        assert clock.seconds == 3, "a burst is no load"


def test_others_are_waited_for() -> None:
    clock = Clock()
    with settled(FakeDevice(busy=iter([0.9] * 6 + [0.2] * 3)), clock).assessing():
        assert clock.seconds == 9


def test_a_device_that_stays_busy_is_left_alone() -> None:
    clock = Clock()
    with pytest.raises(DeviceUnavailableError, match="others kept cuda:0 busy for 90% of the time") as e:
        settled(FakeDevice(busy=iter([0.9] * 100)), clock).assessing().__enter__()
    assert e.value.reason == "device_busy"
    assert clock.seconds == UTILIZATION_SECONDS


def test_nobody_is_waited_for_unless_that_is_set() -> None:
    clock = Clock()
    with settled(FakeDevice(), clock, max_utilization=None).assessing():
        assert clock.seconds == 0


def test_that_nobody_can_be_waited_for_is_told() -> None:
    clock = Clock()
    guest = settled(FakeDevice(nvml_problem="NVML is not there"), clock)
    with guest.assessing():
        assert clock.seconds == 0
    assert guest.remarks == ["device.max_utilization is 0.3, and nobody is waited for: NVML is not there"]
    assert settled(FakeDevice(), clock).remarks == []
    assert settled(FakeDevice(nvml_problem="NVML is not there"), clock, None).remarks == []


# --- NVML, as its module answers --------------------------------------------------------------------------------------


class FakeNvmlError(Exception):
    pass


class FakeNvml:
    """The functions of `pynvml`; what it has no answer for, it does not support."""

    NVMLError = FakeNvmlError

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def __getattr__(self, name: str) -> Callable[[str], Any]:
        def ask(handle: str) -> Any:
            assert handle == "the device"
            if name not in self.answers:
                raise FakeNvmlError
            return self.answers[name]

        return ask


def test_what_nvml_tells() -> None:
    processes = [SimpleNamespace(pid=7, usedGpuMemory=5 * GIB), SimpleNamespace(pid=8, usedGpuMemory=None)]
    library = FakeNvml(
        nvmlDeviceGetMemoryInfo=SimpleNamespace(free=3 * GIB),
        nvmlDeviceGetUtilizationRates=SimpleNamespace(gpu=25),
        nvmlDeviceGetComputeRunningProcesses=processes,
    )
    nvml = Nvml(library, "the device")
    assert (nvml.free_bytes(), nvml.utilization()) == (3 * GIB, 0.25)
    assert [nvml.process_bytes(pid) for pid in (7, 8, 9)] == [5 * GIB, None, None]
    silent = Nvml(FakeNvml(), "the device")
    assert (silent.free_bytes(), silent.utilization(), silent.process_bytes(7)) == (None, None, None)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_nvml_that_is_told() -> None:
    assert open_nvml(bytes(16)) == (None, "NVML cannot be used: NVML Shared Library Not Found")


def test_without_its_package_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    nvml, why = open_nvml(bytes(16))
    assert nvml is None
    assert why.endswith("is not installed beside the model: pip install 'robmon[gpu]'")


# --- in the worker: a real model on the processor, which is called cuda:0 ---------------------------------------------


class OutOfMemoryError(RuntimeError):
    """As torch's, by name."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("linear") / "model"
    with quiet_mlflow():
        mlflow.pytorch.save_model(
            torch.nn.Linear(3, 2),
            folder,
            signature=tensor("float32", (-1, 3)),
            pip_requirements=["torch"],
            serialization_format="pickle",
        )
    return folder


def load_question(folder: Path, **use: Any) -> Load:
    return Load(model=ModelVersion(name="m", version="1", path=str(folder)), device=DeviceUse(**use), threads=1)


SAMPLE = [b'{"inputs": [[%d, 2, 3]]}' % row for row in range(64)]


def test_the_worker_is_a_guest_on_its_device(saved: Path) -> None:
    device = FakeDevice(nvml_problem="NVML is not there")
    use = {"memory_fraction": 0.2, "max_utilization": 0.5}
    here = ModelHere(load_question(saved, **use), lambda name: device)
    assert device.bound is not None
    assert here.loaded.remarks == ["device.max_utilization is 0.5, and nobody is waited for: NVML is not there"]
    result, _ = worker.assess(here, question(64), SAMPLE, Rejections())
    assert isinstance(result, Assessed)
    assert result.device_memory_bytes == device.context
    assert device.gave_back == 2, "before and after"
    device.others = 79 * GIB
    with pytest.raises(DeviceUnavailableError) as caught:
        worker.assess(here, question(64), SAMPLE, Rejections())
    told = failure(caught.value, Rejections())
    assert (told.reason, told.message) == ("device_full", str(caught.value))


def test_the_engine_is_told_for_which_share_of_the_time_it_may_compute(saved: Path) -> None:
    """On a CUDA device; on the processor it is nice."""
    model = load(saved, device=DeviceUse(duty_cycle=0.25))
    inputs, _, _ = model.collect([Row()])
    assert inputs is not None
    assert predictor_of(model, inputs, OutputReader()).duty_cycle is None
    on_cuda = replace(model, use=DeviceUse(duty_cycle=0.25).on("cuda:0"))
    assert predictor_of(on_cuda, inputs, OutputReader()).duty_cycle == 0.25


@dataclass(frozen=True)
class Row:
    columns: None = None
    tensor: tuple[float, ...] = (1.0, 2.0, 3.0)
    reading: str = "frame"
    texts: None = None
    listed: bool = False


def test_a_worker_on_the_processor_is_no_guest(saved: Path) -> None:
    result, _ = worker.assess(ModelHere(load_question(saved)), question(64), SAMPLE, Rejections())
    assert isinstance(result, Assessed) and result.device_memory_bytes is None
    assert open_device("cpu") is None


def test_a_model_that_does_not_fit_is_told_as_that(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: Any, **__: Any) -> Any:
        raise OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.nn.Module, "to", fill)
    with pytest.raises(DeviceUnavailableError, match="and the model needs more") as caught:
        ModelHere(load_question(saved, memory_fraction=0.2), lambda name: FakeDevice())
    assert caught.value.reason == "device_full"


OUT_OF_MEMORY = {
    "Python's": MemoryError(),
    "torch's": OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "CUDA's own": RuntimeError("CUDA error: out of memory"),
    "torch's on the CPU": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    "cuBLAS's": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
}


@pytest.mark.parametrize("error", OUT_OF_MEMORY.values(), ids=OUT_OF_MEMORY)
def test_memory_that_does_not_suffice_is_no_fault_of_the_model(error: Exception) -> None:
    """Wherever it is noticed."""
    assert failure(error, Rejections()).reason == "out_of_memory"
    assert failure(PredictionError("no", "out_of_memory"), Rejections()).reason == "out_of_memory"
    assert failure(RuntimeError("shapes differ"), Rejections()).reason == "model_raised"


def test_torch_itself_is_understood() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50, dtype=torch.uint8)
    assert failure(caught.value, Rejections()).reason == "out_of_memory"
    assert torch.OutOfMemoryError.__name__ == "OutOfMemoryError"
