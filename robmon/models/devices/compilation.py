"""A torch module that is compiled for its device where that is measured to be faster, and gives the same outputs.

Compiling takes a minute and most of a gigabyte, so it is done between two assessments, of a process that will make
many, and once: what is compiled takes any number of rows but one, which is a special case to the compiler. Whatever
else it does not take goes through the module as it is, and nothing is compiled again.
"""

from __future__ import annotations

import signal
import statistics
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from types import FrameType
from typing import Any, Final, NamedTuple

import torch

from robmon.errors import is_out_of_memory
from robmon.models.devices.same_outputs import are_same
from robmon.models.strangers import type_word
from robmon.robustness.engine.pace import Pace

COMPILE_SECONDS: Final = 120.0
"""After so long the module stays as it is: meanwhile nothing is assessed."""
GAIN: Final = 0.05
"""Share of a batch's time that must be saved."""
ROUNDS: Final = 7
"""So often the batch is timed both ways, in turn; the medians count."""
KEPT_BYTES: Final = 2**25
"""Of a batch that is to be tried later so much is kept: the device's memory is the model's."""
NO_COMPILER: Final = "there is no C compiler, gcc or clang, where the model is loaded"
Inputs = tuple[torch.Tensor, ...]


class Decided(NamedTuple):
    """What came of an attempt to compile a module.

    Attributes:
        because: why it is not compiled, in words; empty where it is.
        time_ratio: of the time that the batch takes compiled to that as it is; None where it was not measured.
        seconds: that the attempt took.
    """

    because: str
    time_ratio: float | None
    seconds: float


class Compilation:
    """Calls of a module, which go through what was compiled of it from the day on that `decide` finds that to pay.

    Args:
        run: the module, or what calls it: takes tensors with the rows first.
        allowed: how far apart outputs are that are the same, see `same_outputs`.
        computing: what it is called in, such as autocast.
        duty_cycle: share of the time for which its device may be kept busy; None: all of it.
        clock: seconds that the device works, in this process.
    """

    def __init__(
        self,
        run: Callable[..., Any],
        allowed: float,
        computing: Callable[[], AbstractContextManager[object]] = torch.inference_mode,
        *,
        duty_cycle: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._run, self._allowed, self._computing = run, allowed, computing
        self._duty_cycle, self._clock = duty_cycle, clock
        self._rows_run: Counter[tuple[object, ...]] = Counter()
        """By form and rows of a batch; of that of which most were run, the first rows are kept."""
        self._most_run: tuple[object, ...] = ()
        self._first_rows: Inputs | None = None
        self._batch_rows = 0
        self._form: tuple[object, ...] = ()
        self._rows_not_taken: set[int] = set()
        self._compiled: Callable[..., Any] | None = None
        self._is_aside = False
        self.decided: Decided | None = None
        """None until it was tried."""
        self.calls = 0
        """How many calls went through what was compiled."""

    @property
    def is_on(self) -> bool:
        """Whether batches go through what was compiled."""
        return self._compiled is not None

    def __call__(self, *inputs: torch.Tensor) -> Any:
        """The module's outputs."""
        if self.decided is None:
            self._remember(inputs)
        if self._compiled is None or self._is_aside or not self._is_for(inputs):
            return self._run(*inputs)
        try:
            outputs = _called(self._compiled, *inputs)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            outputs = self._run(*inputs)  # if it is the module's own error, it is raised here again
            if _is_for_others(error):
                self._rows_not_taken.add(len(inputs[0]))
            else:
                self._refuse(f"compiled it raised {type_word(type(error))}")
            return outputs
        self.calls += 1
        return outputs

    @contextmanager
    def aside(self) -> Iterator[None]:
        """In the body all calls go through the module as it is."""
        self._is_aside = True
        try:
            yield
        finally:
            self._is_aside = False

    def decide(self, most_seconds: float = COMPILE_SECONDS, gain: float = GAIN) -> Decided:
        """Compile the module, and keep that where it pays; once, on the batch of which most rows have been run.

        Args:
            most_seconds: that may take.
            gain: share of the batch's time that must be saved.
        """
        if self.decided is not None:
            return self.decided
        first_rows, self._first_rows = self._first_rows, None
        began, ratio, because = time.perf_counter(), None, "it has not been called"
        if first_rows is not None:
            try:
                with _at_most(most_seconds), _quietly(), self._computing():
                    sample = _batch_of(first_rows, self._batch_rows)
                    compiled, because = self._agreeing(sample)
                    if not because:
                        ratio = self._time_ratio(compiled, sample)
                        if ratio > 1.0 - gain:
                            because = f"compiled a batch takes {ratio:.2f} of the time, which is no gain"
            except (Exception, _TimeIsUp) as error:  # the compiler raises anything
                because = _why(error, most_seconds)
        self.decided = Decided(because, ratio, time.perf_counter() - began)
        if first_rows is not None and not because:
            self._compiled, self._form = compiled, _form(first_rows)
        return self.decided

    def _is_for(self, inputs: Inputs) -> bool:
        return _form(inputs) == self._form and len(inputs[0]) not in self._rows_not_taken

    def _remember(self, inputs: Inputs) -> None:
        form = (*_form(inputs), len(inputs[0]))
        self._rows_run[form] += len(inputs[0])
        if form != self._most_run and self._rows_run[form] >= self._rows_run[self._most_run]:
            row_bytes = sum(each[:1].nbytes for each in inputs)
            self._first_rows = _clones(inputs, max(2, KEPT_BYTES // max(1, row_bytes)))
            self._most_run, self._batch_rows = form, len(inputs[0])

    def _refuse(self, because: str) -> None:
        self._compiled = None
        if self.decided is not None:
            self.decided = self.decided._replace(because=because)

    def _agreeing(self, sample: Inputs) -> tuple[Callable[..., Any], str]:
        """What is compiled, and why its outputs, of the sample and of fewer rows, are not those of the module."""
        if not hasattr(torch.compiler, "set_stance"):
            return self._run, f"that takes torch 2.6 or newer, and this is {torch.__version__}"
        if len(sample[0]) == 1:
            return self._run, "it is given one row at a time"
        compiled, given = torch.compile(self._run), _clones(sample)
        for each in given:
            torch._dynamo.maybe_mark_dynamic(each, 0)
        compiled(*given)
        for rows in (len(given[0]), max(2, len(given[0]) // 2)):
            outputs = _called(compiled, *_clones(sample, rows))
            if not _holds_tensors(outputs):
                return compiled, "its outputs are not of a form in which they can be compared"
            if not are_same(self._run(*_clones(sample, rows)), outputs, self._allowed):
                return compiled, "compiled its outputs are not the same"
        return compiled, ""

    def _time_ratio(self, compiled: Callable[..., Any], sample: Inputs) -> float:
        seconds: tuple[list[float], list[float]] = [], []
        for turn in range(1 + ROUNDS):
            runs: tuple[Callable[..., Any], ...] = (self._run, partial(_called, compiled))
            for run, taken in zip(runs, seconds, strict=True):
                given, pace = _clones(sample), Pace(self._duty_cycle)
                _wait_for(sample)
                began = self._clock()
                run(*given)
                _wait_for(sample)
                if turn:  # the first one warms up
                    taken.append(self._clock() - began)
                pace.rest(given[0])
        usual, as_compiled = map(statistics.median, seconds)
        return as_compiled / usual


def _form(inputs: Inputs) -> tuple[object, ...]:
    """What a compiled module is made for."""
    return tuple((each.dtype, tuple(each.shape[1:]), each.is_inference()) for each in inputs)


def _clones(inputs: Inputs, rows: int | None = None) -> Inputs:
    """The first so many rows, as often as they are needed: the module may write into its inputs."""
    with torch.inference_mode(inputs[0].is_inference()):  # else they are of another kind to what is compiled
        return tuple(each[:rows].clone() for each in inputs)


def _batch_of(first_rows: Inputs, rows: int) -> Inputs:
    """So many rows: these, again and again."""
    with torch.inference_mode(first_rows[0].is_inference()):
        return tuple(each[torch.arange(rows, device=each.device) % len(each)] for each in first_rows)


def _called(compiled: Callable[..., Any], *inputs: torch.Tensor) -> Any:
    """The outputs of a compiled module, of which nothing is compiled again.

    Raises:
        RuntimeError: for these inputs it would have to be.
    """
    with torch.compiler.set_stance("fail_on_recompile"):
        return compiled(*inputs)


def _is_for_others(error: BaseException) -> bool:
    """Whether an error says that something would have to be compiled again."""
    return isinstance(error, RuntimeError) and "fail_on_recompile" in str(error)


def _holds_tensors(outputs: Any) -> bool:
    leaves = torch.utils._pytree.tree_leaves(outputs)
    return any(isinstance(each, torch.Tensor) for each in leaves)


def _wait_for(inputs: Inputs) -> None:
    if inputs[0].is_cuda:
        torch.cuda.synchronize(inputs[0].device)


class _TimeIsUp(BaseException):
    """No `Exception`, which the compiler would take for one of its own."""


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """End the body after so many seconds; in another thread than the first that cannot be done.

    Raises:
        _TimeIsUp: it had not ended by itself.
    """

    def end(number: int, frame: FrameType | None) -> None:
        raise _TimeIsUp

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _quietly() -> Iterator[None]:
    """Compile in this process, which is nice, and in none that would outlive it; what torch warns of is its own."""
    import torch._inductor.config as inductor

    with warnings.catch_warnings(), inductor.patch(compile_threads=1):
        warnings.simplefilter("ignore")
        yield


def _why(error: BaseException, most_seconds: float) -> str:
    """In words, which hold no text of the module's."""
    if isinstance(error, _TimeIsUp):
        return f"compiling had not ended after {most_seconds:g} s"
    cause: BaseException = getattr(error, "inner_exception", error)
    if is_out_of_memory(cause):
        return "memory ran out while it was compiled"
    if _is_for_others(cause):
        return "it would have to be compiled anew at every call"
    name = type_word(type(cause))
    if name == "InvalidCxxCompiler" or "Failed to find C compiler" in str(cause):
        return NO_COMPILER
    if name == "TritonMissing":
        return "triton, by which torch compiles for CUDA, is not installed where the model is loaded"
    if isinstance(cause, OSError) and cause.strerror:
        return f"the compiler cannot write or run what it needs ({cause.strerror})"
    return f"the compiler raised {name}"
