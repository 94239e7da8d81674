"""What a module computes of its input outside torch, or only while nobody reads it: neither is in a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch.overrides import TorchFunctionMode

from robmon.robustness.probes.certificate.graph import UnreadableError

LEAVING: Final = frozenset(
    {
        "numpy", "item", "tolist", "equal", "allclose", "is_nonzero", "storage", "untyped_storage", "_typed_storage",
        "data_ptr", "__array__", "__bool__", "__complex__", "__contains__", "__dlpack__", "__float__", "__format__",
        "__index__", "__int__", "__reduce_ex__", "__repr__",
    }
)  # fmt: skip
"""Functions that give no tensor, but what is in one."""


def refuse_leaving(module: torch.nn.Module, example: torch.Tensor) -> None:
    """Run a module, and raise where it takes numbers that depend on its input out of torch.

    Raises:
        UnreadableError: it does.
    """
    held = [each for part in module.modules() for each in vars(part).values() if isinstance(each, torch.Tensor)]
    mode = _Watch([*module.parameters(), *module.buffers(), *held])
    try:
        with mode:
            module(example)
    except UnreadableError:
        raise
    except Exception as error:  # of the module, whose text may hold inputs
        raise UnreadableError(f"it does not take two rows ({type(error).__name__})") from error
    if mode.left:  # the module may have caught what was raised
        raise _left(mode.left)


def _left(name: str) -> UnreadableError:
    return UnreadableError(f"it computes outside torch, or branches on its data ({name.strip('_')})")


class _Watch(TorchFunctionMode):
    """Knows which tensors do not depend on the input, and holds them, so that none takes another's identity.

    All others may: what scripted code gives, of which nothing is seen here, among them.
    """

    def __init__(self, constants: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.apart: dict[int, torch.Tensor] = {id(each): each for each in constants}
        self.left = ""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        given = list(_tensors((args, kwargs)))
        if all(id(each) in self.apart for each in given):
            result = func(*args, **kwargs)
            self.apart.update({id(each): each for each in _tensors(result)})
            return result
        if name in LEAVING:
            self.left = name
            raise _left(name)
        is_in_place = (name.endswith("_") and not name.endswith("__")) or name in ("__setitem__", "__set__")
        for each in _tensors([kwargs.get("out"), *(given[:1] if is_in_place or name.startswith("__i") else [])]):
            self.apart.pop(id(each), None)
        return func(*args, **kwargs)


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _tensors(each)


@contextmanager
def unnoticed() -> Iterator[None]:
    """Meanwhile a module that asks whether it is traced or exported hears that it is not, and does what it always does.

    For the whole process: the questions are functions of torch.
    """
    asked = [
        (torch._C, "_is_tracing"),
        (torch._C, "_get_tracing_state"),
        (torch.compiler, "is_compiling"),
        (torch.compiler, "is_exporting"),
    ]
    kept = [(home, name, getattr(home, name)) for home, name in asked if hasattr(home, name)]
    for home, name, _ in kept:
        setattr(home, name, _no)
    try:
        yield
    finally:
        for home, name, function in kept:
            setattr(home, name, function)


def _no() -> None:
    """As `torch._C._get_tracing_state` answers where nothing is traced."""
