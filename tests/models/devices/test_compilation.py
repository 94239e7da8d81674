"""A module is compiled where that saves time and changes no output. By torch's own compiler, for this processor.

Time is counted in calls, so that nothing depends on how busy the machine is.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch import nn

from robmon.models.devices.channels_last import with_channels_last
from robmon.models.devices.compilation import NO_COMPILER, Compilation
from robmon.models.devices.torch_device import autocast

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C compiler, g++")
ROWS = 64
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inductor")


@pytest.fixture(autouse=True)
def compiled_anew(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is taken from what an earlier run compiled."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(cache))
    with compiler_set({"cpp.vec_isa_ok": True, "cpp_cache_precompile_headers": False}):  # compiles less
        yield
    torch._dynamo.reset()


def compiler_set(options: dict[str, Any]) -> Any:
    """With other settings of torch's compiler, whose import takes a second."""
    import torch._inductor.config as inductor

    return inductor.patch(options)


class Clock:
    """Each look takes a second."""

    seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 1.0
        return self.seconds


class Chain(nn.Module):
    """Steps that a compiler joins into one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(torch.tanh(1.01 * x + 0.1))


class Costly(nn.Module):
    """As it is, each call of it takes four seconds."""

    def __init__(self, clock: Clock, module: nn.Module) -> None:
        super().__init__()
        self.clock, self.module = clock, module

    def forward(self, *inputs: torch.Tensor) -> Any:
        if not torch.compiler.is_compiling():
            self.clock.seconds += 4.0
        return self.module(*inputs)


def run_of(module: Callable[..., Any], *inputs: torch.Tensor, clock: Clock | None = None) -> Compilation:
    """As after an assessment: batches, a shorter one, and one row."""
    run = Compilation(module, 1e-4, clock=clock or Clock())
    for rows in (ROWS, ROWS, ROWS, 24, 17):
        given = [each[:rows].clone() for each in inputs]
        with torch.inference_mode():
            run(*given)
    return run


def assert_goes_on(run: Compilation, x: torch.Tensor) -> None:
    """Through the module as it is, and nothing is tried again."""
    before = run.decided
    with torch.inference_mode():
        run(x)
    assert run.calls == 0 and not run.is_on and run.decide() is before


def test_a_module_is_compiled_that_is_faster_then() -> None:
    """For any number of rows but one; another shape or type goes through the module as it is."""
    clock, x = Clock(), torch.randn(ROWS, 40)
    module, others = Costly(clock, Chain()), set(psutil.Process().children())
    run = run_of(module, x, clock=clock)
    decided = run.decide()
    assert decided.because == "" and decided.seconds > 0 and run.decide() is decided
    assert (run.is_on, decided.time_ratio, run.calls) == (True, 1 / 5, 0)
    with torch.inference_mode():
        began = clock.seconds
        for rows in (ROWS, 24, 63, 2):
            torch.testing.assert_close(run(x[:rows]), Chain()(x[:rows]))
        assert (run.calls, clock.seconds) == (4, began)
        for other in (x[:1], x[:, :8], x.double()):
            assert run(other).shape == other.shape
        with run.aside():
            assert torch.equal(run(x), Chain()(x))
    assert (run.calls, clock.seconds) == (4, began + 4 * 4)
    assert set(psutil.Process().children()) <= others  # none of the compiler's


class Product(nn.Module):
    """One step, which a library does as well as any compiler."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(8, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weights


def test_no_gain_is_refused() -> None:
    run = run_of(Product(), x := torch.randn(ROWS, 8))
    assert run.decide()[:2] == ("compiled a batch takes 1.00 of the time, which is no gain", 1.0)
    assert_goes_on(run, x)


class Asking(nn.Module):
    """Computes something else where it is compiled."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ (x[:8] if torch.compiler.is_compiling() else x[8:16])


def test_outputs_that_differ_are_refused() -> None:
    run = run_of(Asking(), x := torch.randn(ROWS, 8))
    assert run.decide()[:2] == ("compiled its outputs are not the same", None)
    assert_goes_on(run, x)


class Scores:
    """Outputs of a form of the model's own."""

    def __init__(self, scores: torch.Tensor) -> None:
        self.scores = scores


def test_outputs_that_cannot_be_compared_are_refused() -> None:
    run = run_of(lambda x: Scores(x @ x.T), torch.randn(ROWS, 8))
    assert run.decide().because == "its outputs are not of a form in which they can be compared"


def test_no_compiler_is_told_and_survived() -> None:
    run = run_of(Chain(), x := torch.randn(ROWS, 8))
    with compiler_set({"cpp.cxx": ("no-compiler-of-this-name",)}):
        assert run.decide().because == NO_COMPILER
    assert_goes_on(run, x)


def test_a_compiler_that_cannot_write_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.touch()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(place))
    run = run_of(Chain(), torch.randn(ROWS, 9))
    assert run.decide().because == "the compiler cannot write or run what it needs (File exists)"


class Endless(nn.Module):
    """Is traced for longer than there is time."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.compiler.is_compiling():
            torch._dynamo.graph_break()
            time.sleep(60)
        return x


def test_compiling_has_its_time() -> None:
    run = run_of(Endless(), x := torch.randn(ROWS, 8))
    began = time.monotonic()
    assert run.decide(most_seconds=1.0).because == "compiling had not ended after 1 s"
    assert time.monotonic() - began < 30
    assert_goes_on(run, x)


class Counting(nn.Module):
    """Is another one after each call."""

    calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x @ x[self.calls : self.calls + 8]


def test_a_module_that_changes_at_every_call_is_refused() -> None:
    run = run_of(Counting(), x := torch.randn(ROWS, 8))
    assert run.decide().because == "it would have to be compiled anew at every call"
    assert_goes_on(run, x)


def test_what_is_never_compiled() -> None:
    run = Compilation(Chain(), 1e-4)
    run(torch.randn(1, 8))
    assert run.decide().because == "it is given one row at a time"
    assert Compilation(Chain(), 1e-4).decide().because == "it has not been called"


def test_what_is_compiled_and_fails_later_is_given_up() -> None:
    run = run_of(Product(), x := torch.randn(ROWS, 8))
    assert run.decide(gain=-1.0).because == ""

    def broken(*inputs: torch.Tensor) -> Any:
        raise RuntimeError("CUDA error: invalid argument")

    run._compiled = broken
    with torch.inference_mode():
        assert torch.equal(run(x), run._run(x))
    assert run.decide().because == "compiled it raised RuntimeError"
    assert_goes_on(run, x)


def test_where_memory_runs_out_the_batch_is_the_callers_to_halve() -> None:
    run = run_of(Product(), x := torch.randn(ROWS, 8))
    run.decide(gain=-1.0)

    def full(*inputs: torch.Tensor) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    run._compiled = full
    with pytest.raises(torch.OutOfMemoryError):
        run(x)
    assert run.is_on


@pytest.mark.long
def test_the_models_own_error_is_raised_as_it_is() -> None:
    def picky(x: torch.Tensor) -> torch.Tensor:
        if bool((x > 1e6).any()):
            raise ValueError("too large")
        return x @ x.T

    run = run_of(picky, x := torch.randn(ROWS, 8))
    assert run.decide(gain=-1.0).because == ""
    with torch.inference_mode():
        with pytest.raises(ValueError, match="too large"):
            run(x + 1e7)
        run(x)
    assert run.is_on and run.calls == 1


def test_compiling_in_another_thread_than_the_first() -> None:
    """Where no time can be set to it."""
    run = run_of(Product(), torch.randn(ROWS, 8))
    thread = threading.Thread(target=run.decide)
    thread.start()
    thread.join()
    assert run.decided is not None and run.decided.time_ratio == 1.0


class Mutating(nn.Module):
    """Writes into its inputs and returns several things, of two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.normalised = nn.BatchNorm1d(40)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, Any]:
        x.mul_(2.0)
        joint = torch.tanh(torch.tanh(self.normalised(x)) + torch.sin(y))
        return {"joint": joint, "both": (joint.mean(dim=1), joint.exp()), "rows": 1}


@pytest.mark.long
def test_inputs_that_are_written_to_and_outputs_of_any_form() -> None:
    clock, x, y = Clock(), torch.randn(ROWS, 40), torch.randn(ROWS, 40)
    module = Mutating().eval()
    run = run_of(Costly(clock, module), x, y, clock=clock)
    assert run.decide().because == ""
    mine, theirs = x.clone(), x.clone()
    with torch.inference_mode():
        torch.testing.assert_close(run(mine, y), module(theirs, y))
        assert run.calls == 1
        torch.testing.assert_close(mine, theirs)
        torch.testing.assert_close(mine, 2 * x)


@pytest.mark.long
@pytest.mark.parametrize(("precision", "allowed"), [(None, 1e-4), ("bfloat16", 0.05)])
def test_images_with_channels_last_and_autocast(precision: Any, allowed: float) -> None:
    torch.manual_seed(0)
    block = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.GELU()
    module = nn.Sequential(nn.Conv2d(3, 8, 3), *block, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)).eval()

    @contextmanager
    def computing() -> Iterator[None]:
        with torch.inference_mode(), autocast(precision, CPU):
            yield

    run = Compilation(with_channels_last(module, CPU), allowed, computing, clock=Clock())
    x = torch.rand(ROWS, 3, 32, 32)
    with computing():
        run(x)
    assert run.decide().time_ratio == 1.0, "compiled, and the same"
