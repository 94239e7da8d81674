"""Names that model code chose are not told, those of known code are."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from robmon import errors
from robmon.errors import InvalidInputError, ModelLoadError, PredictionError, TooFewRowsError
from robmon.models.loading import _discard, load
from robmon.models.outputs.outputs import OutputReader
from robmon.models.strangers import MODEL_CODE, place_word, type_word
from robmon.processes.messages.every_process import Rejections
from robmon.worker.failing import failure
from tests.models.conftest import save_pyfunc, tensor

CANARY = "CANARY5b1e64"


class OwnError(ValueError):
    """One of a model's own."""


def named(**attributes: object) -> type:
    return type(CANARY, (ValueError,), attributes)


def hung_into_numpy() -> type:
    kind = type(CANARY, (KeyError,), {"__module__": "numpy"})
    setattr(np, CANARY, kind)
    return kind


class Meta(type):
    def mro(cls) -> list[type]:
        return [cls, *super().mro()[1:]]

    @property
    def __name__(cls) -> str:
        return CANARY


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (ValueError, "ValueError"),
        (json.JSONDecodeError, "JSONDecodeError"),
        (np.linalg.LinAlgError, "LinAlgError"),
        (errors.InvalidInputError, "InvalidInputError"),
        (np.ndarray, "ndarray"),
        (types.SimpleNamespace, "SimpleNamespace"),
        (OwnError, "a kind of ValueError"),
        (named(), "a kind of ValueError"),
        (named(__module__="builtins"), "a kind of ValueError"),
        (named(__module__="json", __qualname__="JSONDecoder"), "a kind of ValueError"),
        (named(__module__=CANARY, __qualname__=CANARY), "a kind of ValueError"),
        (named(__module__=7), "a kind of ValueError"),
        (type("ValueError", (KeyError,), {}), "a kind of KeyError"),
        (Meta("X", (), {}), "a kind of object"),
    ],
)
def test_types(kind: type, word: str) -> None:
    assert type_word(kind) == word


def test_a_type_that_was_hung_into_a_package() -> None:
    try:
        assert type_word(hung_into_numpy()) == "a kind of KeyError"
    finally:
        delattr(np, CANARY)


def place_of(raises: Callable[[], object]) -> str:
    try:
        raises()
    except BaseException as error:
        return place_word(error.__traceback__)
    return "nothing was raised"


def run(text: str, file: str) -> Callable[[], object]:
    return lambda: exec(compile(text, file, "exec"), {})


def own() -> NoReturn:
    raise ValueError(CANARY)


def test_places() -> None:
    assert place_of(lambda: json.loads("{")).startswith("decoder.py:")
    assert place_of(own) == f"{MODEL_CODE}:{own.__code__.co_firstlineno + 1}"
    assert place_of(run("1 / 0", f"{CANARY}.py")) == MODEL_CODE
    assert place_of(run("\n" * 6455 + "1 / 0", json.__file__)) == MODEL_CODE
    assert place_of(run("\n" * 6455 + "1 / 0", __file__)) == MODEL_CODE
    assert (
        place_of(run("\n" * 6455 + "def f():\n  1 / 0\nf()", f"{Path(json.__file__).parent}/{CANARY}.py")) == MODEL_CODE
    )
    assert place_word(None) == ""


def raise_robmon(_: Any) -> NoReturn:
    raise InvalidInputError(CANARY)


def raise_prediction(_: Any) -> NoReturn:
    raise PredictionError(CANARY, CANARY)


def raise_rows(_: Any) -> NoReturn:
    raise TooFewRowsError(1, 2, CANARY)


def raise_base(_: Any) -> NoReturn:
    told = {"rejections": {CANARY: {CANARY: 1}}, "served_version": CANARY, "rows": 3}
    raise type(CANARY, (BaseException,), told)


def raise_run(rows: Any) -> NoReturn:
    exec(compile(f"raise type('{CANARY}', (Exception,), {{}})", f"{CANARY}.py", "exec"))
    raise AssertionError(rows)


def raise_with_a_file_of_robmon(_: Any) -> NoReturn:
    text = f"from robmon.errors import PredictionError\nraise PredictionError('{CANARY}')"
    exec(compile(text, sys.modules["robmon.models.outputs.outputs"].__file__ or "", "exec"))
    raise AssertionError


def return_own(_: Any) -> object:
    return type(CANARY, (), {})()


def return_cells(rows: Any) -> object:
    return np.array([type(CANARY, (), {})() for _ in rows], dtype=object)


def return_records(rows: Any) -> object:
    return np.zeros(len(rows), dtype=[(CANARY, "datetime64[s]")])


@pytest.mark.parametrize(
    "model",
    [
        *(raise_robmon, raise_prediction, raise_rows, raise_base, raise_run, raise_with_a_file_of_robmon),
        *(return_own, return_cells, return_records),
    ],
)
def test_nothing_that_a_model_names_is_told(tmp_path: Path, model: Callable[[Any], object]) -> None:
    """Whatever it raises or returns, also exceptions of robmon's own with texts and counts of the model's."""
    served = load(save_pyfunc(tmp_path / "model", model, tensor("float64", (-1, 1))))
    with pytest.raises(BaseException) as caught:
        served.predict(np.ones((2, 1)))
    told = failure(caught.value, Rejections())
    assert CANARY not in told.model_dump_json()
    assert told.reason in ("model_raised", "invalid_output")
    assert (told.rejections, told.served_version) == (Rejections(), None)


@pytest.mark.parametrize(
    "does",
    [
        f"raise errors.ModelLoadError('{CANARY}')",
        f"raise errors.PredictionError('{CANARY}', '{CANARY}')",
        f"raise errors.ModelLoadError('{CANARY}') from ValueError('{CANARY}')",
        f"raise type('{CANARY}', (KeyError,), {{}})('{CANARY}')",
        f"exec(compile('1 / 0', '{CANARY}.py', 'exec'))",
        "raise ModuleNotFoundError(name=chr(27) + 'x' * 10**6)",
    ],
)
def test_what_a_model_says_while_it_is_loaded_is_told_as_one_short_line(tmp_path: Path, does: str) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {python_function: {loader_module: says_much, code: code}}")
    (tmp_path / "code").mkdir()
    code = f"from robmon import errors\ndef _load_pyfunc(path):\n    {does}\n"
    (tmp_path / "code" / "says_much.py").write_text(code)
    with pytest.raises(ModelLoadError) as caught:
        load(tmp_path)
    _discard(None, [str(tmp_path / "code")])
    told = failure(caught.value, Rejections())
    assert CANARY not in told.model_dump_json()
    assert told.reason == "not_loadable"
    assert len(told.message) < 500 and told.message.isprintable()


def test_outputs_of_known_types_are_named() -> None:
    with pytest.raises(PredictionError, match="returned a SimpleNamespace"):
        OutputReader()(types.SimpleNamespace(), 1)
