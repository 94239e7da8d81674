"""Who keeps what in the data folder."""

from __future__ import annotations

from pathlib import Path

from robmon.history.folder import claimed


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
