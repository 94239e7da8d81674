"""Who keeps what in the data folder."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest

from robmon.history.baseline.files import BaselineFiles
from robmon.history.folder import claimed, file_name
from robmon.history.reading import models_in
from robmon.history.store import History


def test_of_two_that_keep_the_same_the_later_one_is_told(tmp_path: Path) -> None:
    """Other models, and other aliases of the same one, are at home in the same folder."""
    for _ in range(2):
        with (
            claimed(tmp_path, "digits", "champion") as first,
            claimed(tmp_path, "digits", "champion") as second,
            claimed(tmp_path, "digits", "challenger") as other,
            claimed(tmp_path, "house price é", "champion") as another,
        ):
            assert (first, second, other, another) == (True, False, True, True)


def test_a_folder_that_cannot_tell_names_nobody(tmp_path: Path) -> None:
    with claimed(tmp_path / "gone", "digits", "champion") as is_alone:
        assert is_alone


@pytest.mark.parametrize(
    "key", ["digits", "房价预测模型" * 10, "é" * 128, "x" * 256, "🏠" * 60, "..", ".", ".a", "a/b c"]
)
def test_a_model_of_any_name_has_files_of_its_own(key: str, tmp_path: Path) -> None:
    history = History(tmp_path, key)
    history.past.add({"at": 1.0, "number": 1, "version": "1", "levels": []})
    BaselineFiles(tmp_path, key).write("1", {"format": 1})
    (found,) = models_in(tmp_path)
    assert file_name(found) == file_name(key) and (len(key) > 40 or found == key)
    assert [file.relative_to(tmp_path).parts[0] for file in tmp_path.rglob("1.json")] == ["baselines"]
    assert BaselineFiles(tmp_path, found).read("1") == {"format": 1}
    assert len({file_name(key + end) for end in ("", "a", "b")}) == 3
    assert unquote(file_name(key)).isprintable()
