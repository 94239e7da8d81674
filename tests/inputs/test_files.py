"""Files of inputs: every kind as its own writer makes it, and one clear sentence for what cannot be used."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from robmon.errors import InvalidInputError, RobmonError
from robmon.inputs.files import read_inputs

FRAME = pd.DataFrame({"a": [1.5, 2.5], "b": ["x", "y"], "y": [0.0, 1.0]})
ARRAY = np.arange(12, dtype=np.float32).reshape(2, 2, 3)


def test_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", ARRAY)
    inputs, targets = read_inputs(tmp_path / "data.npy")
    assert isinstance(inputs, np.ndarray)
    assert inputs.dtype == np.float32
    assert np.array_equal(inputs, ARRAY)
    assert targets is None


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl", ".CSV"])
def test_tables(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    if suffix == ".parquet":
        FRAME.to_parquet(path)
    elif suffix == ".jsonl":
        FRAME.to_json(path, orient="records", lines=True)
    else:
        FRAME.to_csv(path, index=False)
    inputs, targets = read_inputs(str(path))
    pd.testing.assert_frame_equal(inputs, FRAME)
    assert targets is None
    inputs, targets = read_inputs(path, target="y")
    pd.testing.assert_frame_equal(inputs, FRAME[["a", "b"]])
    assert targets is not None
    assert targets.tolist() == [0.0, 1.0]


@pytest.mark.parametrize(("rows", "dtype"), [([[1, 2], [3, 4]], np.int64), ([[1, 2], [3, 4.5]], np.float64)])
def test_jsonl_of_lists(tmp_path: Path, rows: list[list[float]], dtype: type) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    inputs, _ = read_inputs(path)
    assert isinstance(inputs, np.ndarray)
    assert inputs.dtype == dtype
    assert inputs.tolist() == rows


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("data.txt", b"secret", "must end in .parquet, .csv, .npy, .jsonl"),
        ("data.npy", b"secret", "is not a .npy file"),
        ("data.parquet", b"secret", "is not a .parquet file"),
        ("data.csv", b"", "is not a .csv file"),
        ("data.csv", b"secret\xff\n1\n", "is not a .csv file"),
        ("data.csv", b"secret\n", "has no row"),
        ("data.jsonl", b"", "has no row"),
        ("data.jsonl", b"{secret", "is not a .jsonl file"),
        ("data.jsonl", b"[" * 100_000, "is not a .jsonl file"),
        ("data.jsonl", b'[1]\n{"secret": 1}\n', "every line must be a JSON object, or every line a list"),
        ("data.jsonl", b"1\n", "every line must be"),
        ("data.jsonl", b'["secret"]\n', "must hold numbers"),
    ],
)
def test_bad_files_get_one_sentence_without_values(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidInputError) as caught:
        read_inputs(path)
    message = str(caught.value)
    assert told in message
    assert message.startswith(str(path))
    assert "secret" not in message
    assert "\n" not in message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="cannot be read: No such file"):
        read_inputs(tmp_path / "data.csv")
    with pytest.raises(InvalidInputError, match="cannot be read: No such file"):
        read_inputs(tmp_path / "data.parquet")
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(InvalidInputError, match="cannot be read: Is a directory"):
        read_inputs(tmp_path / "folder.npy")


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InvalidInputError, match=r"is not a \.npy file"):
        read_inputs(tmp_path / "data.npy")


@pytest.mark.parametrize(("array", "told"), [(np.float64(1), "holds no rows"), (np.array(["x"]), "numbers are needed")])
def test_arrays_without_rows_or_numbers(tmp_path: Path, array: np.ndarray, told: str) -> None:  # type: ignore[type-arg]
    np.save(tmp_path / "data.npy", array)
    with pytest.raises(InvalidInputError, match=told):
        read_inputs(tmp_path / "data.npy")


def test_targets_that_are_not_there(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", ARRAY)
    FRAME.to_csv(tmp_path / "data.csv")
    with pytest.raises(InvalidInputError, match="has no named columns"):
        read_inputs(tmp_path / "data.npy", target="y")
    with pytest.raises(InvalidInputError, match="has no column z"):
        read_inputs(tmp_path / "data.csv", target="z")


@pytest.mark.parametrize(("missing", "name"), [("pandas", "data.csv"), ("pandas", "data.parquet")])
def test_missing_packages_name_the_extra(
    tmp_path: Path, missing: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_bytes(b'{"a": 1}\n')
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(RobmonError, match=rf"needs {missing}, which is not installed: pip install 'robmon\[files\]'"):
        read_inputs(tmp_path / name)


def test_json_lines_need_no_pandas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named rows as an array a column, in the order of their names; what is missing is None."""
    file = tmp_path / "data.jsonl"
    file.write_text('{"a": 1, "b": 0.5, "t": "x", "y": 3}\n{"b": 2, "a": 2, "t": null, "k": true, "y": 4}\n')
    monkeypatch.setitem(sys.modules, "pandas", None)
    inputs, targets = read_inputs(file, "y")
    assert isinstance(inputs, dict) and targets is not None
    assert {name: column.tolist() for name, column in inputs.items()} == {
        "a": [1, 2],
        "b": [0.5, 2.0],
        "t": ["x", None],
        "k": [None, True],
    }
    assert (inputs["a"].dtype, inputs["b"].dtype, targets.tolist()) == (np.int64, np.float64, [3, 4])
    with pytest.raises(InvalidInputError, match="has no column z"):
        read_inputs(file, "z")


def test_integers_among_missing_cells_stay_integers(tmp_path: Path) -> None:
    """pandas makes floating numbers of them, which would be perturbed."""
    frame = pd.DataFrame({"age": pd.array([3, None, 5], dtype="Int64"), "x": [1.0, None, 2.0], "t": ["a", None, "b"]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text(
        '{"age": 3, "x": 1.0}\n{"age": null, "x": null, "t": null}\n{"age": 5, "x": 2.0}\n'
    )
    for name in ("a.csv", "a.parquet", "a.jsonl"):
        inputs, _ = read_inputs(tmp_path / name)
        assert isinstance(inputs, pd.DataFrame)
        assert (str(inputs["age"].dtype), inputs["x"].dtype) == ("Int64", np.float64), name
        _, targets = read_inputs(tmp_path / name, target="age")
        np.testing.assert_array_equal(targets, [3.0, np.nan, 5.0])


def test_lines_that_are_none_are_left_out_and_told(tmp_path: Path) -> None:
    path, told = tmp_path / "data.jsonl", []
    path.write_text('{"a": 0.5}\n{"secret\n{"a": 1.5}\n\n[2]\n{"a": 2.5, "t": "x\u2028y"}\n')
    inputs, _ = read_inputs(path, tell=told.append)
    assert isinstance(inputs, pd.DataFrame)
    assert inputs["a"].tolist() == [0.5, 1.5, 2.5]
    assert told == [f"2 of 5 lines of {path} are no JSON object, and are left out: 2, 5"]


def test_lists_of_other_shapes_are_left_to_the_model(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('[1, 2]\n[1.5]\n["x", 1]\n[null, 2]\n')
    inputs, _ = read_inputs(path)
    assert isinstance(inputs, list)
    assert [array.shape for array in inputs] == [(2,), (1,), (2,), (2,)]
    assert [array.dtype == object for array in inputs] == [False, False, True, False]


def test_several_targets_are_columns_in_the_order_asked_for(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "y1": [4, 5, 6], "y2": [0.5, 1.5, 2.5]})
    frame.to_csv(tmp_path / "data.csv", index=False)
    inputs, targets = read_inputs(tmp_path / "data.csv", ["y2", "y1"])
    assert isinstance(inputs, pd.DataFrame) and list(inputs.columns) == ["a"]
    assert targets is not None and targets.tolist() == [[0.5, 4.0], [1.5, 5.0], [2.5, 6.0]]
    with pytest.raises(InvalidInputError, match="has no column y3"):
        read_inputs(tmp_path / "data.csv", ["y1", "y3"])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("größe\n1\n".encode("latin-1"), ": it is not UTF-8"),
        (b"a,b\n1,2\n1,hush,3\n", ": expected 2 fields in line 3, saw 3"),
        (b"", ""),
    ],
)
def test_of_a_table_that_cannot_be_read_is_told_where(content: bytes, why: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(content)
    with pytest.raises(InvalidInputError) as raised:
        read_inputs(file)
    assert str(raised.value) == f"{file} is not a .csv file that can be read{why}"
