"""Names that model code chose: of exceptions, of files, of what it returns. They may be made of a production input.

So they are told only where they are no choice of the model's: where the type, or the code that raised, really is of
robmon, of the standard library or of an installed package. Of the model's own code only the line is told.
"""

from __future__ import annotations

import builtins
import re
import site
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any

from robmon.wording import printable

MODEL_CODE = "model code"
PACKAGE = Path(__file__).parent.parent
_BUILTINS = frozenset(each for each in vars(builtins).values() if isinstance(each, type))


def type_word(kind: type) -> str:
    """The name of a type, or for one of the model's own the nearest known one that it derives from.

    >>> type_word(ValueError), type_word(type("made of 0.64", (KeyError,), {}))
    ('ValueError', 'a kind of KeyError')
    """
    for place, each in enumerate(type.mro(kind)):
        if _is_known_type(each):
            return f"{'a kind of ' if place else ''}{_attribute(each, '__name__')}"
    return "an object"


def place_word(trace: TracebackType | None, *, of_model: bool = False) -> str:
    """File and line that raised; without the file's name where it is model code, and without both where it is none.

    Args:
        trace: of the exception.
        of_model: whether the names of the model's own files are told too: before it has seen an input.
    """
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    if not _is_in_its_file(code):
        return MODEL_CODE
    is_told = of_model or _is_known_file(code.co_filename)
    return f"{printable(Path(code.co_filename).name) if is_told else MODEL_CODE}:{trace.tb_lineno}"


def is_raised_by_robmon(error: BaseException) -> bool:
    """Whether robmon itself raised it: model code may raise robmon's exceptions too, with any text."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return True
    code = trace.tb_frame.f_code
    return Path(code.co_filename).is_relative_to(PACKAGE) and _is_in_its_file(code)


def _is_known_type(kind: type) -> bool:
    """Whether it is what its module says it is: a name and a module are quickly given."""
    if kind in _BUILTINS:
        return True
    module_name, path = _attribute(kind, "__module__"), _attribute(kind, "__qualname__")
    module = sys.modules.get(module_name) if isinstance(module_name, str) else None
    if module is None or path.rpartition(".")[2] != _attribute(kind, "__name__"):
        return False
    found: object = module
    for part in path.split("."):
        found = getattr(found, part, None)
    file = getattr(module, "__file__", None)
    if found is not kind or file is None:
        return found is kind and module_name in sys.builtin_module_names
    return isinstance(file, str) and _is_known_file(file) and _is_written_in(_attribute(kind, "__name__"), file)


def _attribute(kind: type, name: str) -> Any:
    """What a type itself says, whatever its own type makes of that."""
    return type.__dict__[name].__get__(kind)


def _is_known_file(file: str) -> bool:
    path = Path(file)
    return path.is_absolute() and any(path.is_relative_to(root) for root in _known_roots())


@lru_cache(1)
def _known_roots() -> tuple[Path, ...]:
    """Folders of robmon, the standard library and installed packages; a model's `code` folder is in none of them."""
    found = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found |= {Path(folder) for folder in (*site.getsitepackages(), site.getusersitepackages())}
    found |= {Path(folder) for folder in sys.path if folder.endswith(("site-packages", "dist-packages"))}
    return tuple({PACKAGE, *found, *(folder.resolve() for folder in found)})


@lru_cache(256)
def _is_written_in(name: str, file: str) -> bool:
    """Whether a module's source has the name: model code may hang a type of its own into any module."""
    if not file.endswith(".py"):
        return True
    try:
        return re.search(rf"\b{re.escape(name)}\b", Path(file).read_text(encoding="utf-8")) is not None
    except (OSError, ValueError):
        return False


@lru_cache(256)
def _is_in_its_file(code: CodeType) -> bool:
    """Whether that code really is in the file that it names: a text that is run may name any file, and any line."""
    try:
        content = Path(code.co_filename).read_bytes()
        whole = compile(content, code.co_filename, "exec", dont_inherit=True)
    except (OSError, ValueError, SyntaxError, MemoryError, RecursionError):
        return False
    waiting = [whole]
    while waiting:
        each = waiting.pop()
        if each == code:
            return True
        waiting += [constant for constant in each.co_consts if isinstance(constant, CodeType)]
    return False
