"""`robmon history`: what it prints, draws and refuses, also of a file that a daemon writes meanwhile."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from robmon.cli.history import period_of
from robmon.cli.main import main
from robmon.history.reading import HistoryReader, Period
from robmon.history.store import History
from robmon.history.thinning import worst_of
from robmon.report.event_sentences import badness
from tests.history.example import BEGIN, LOADED, MINUTES, WORSE, example

NAME = "dig\x1b[31mits"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("history")
    example(folder, name=NAME)
    return folder


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["history", *map(str, words)])


def test_a_table_of_the_last_assessments_and_what_happened_in_a_day(data_dir: Path) -> None:
    done = run("--data-dir", data_dir)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == r"model dig\x1b[31mits" and "\x1b" not in done.stdout
    assert lines[2].split()[:3] == ["time", "number", "version"]
    assert [line.split()[1] for line in lines[3:23]] == [str(MINUTES - 19 + row) for row in range(20)]
    assert lines[22].startswith("2026-11-26T19:32:20Z") and lines[23] == ""
    assert (
        lines[24] == "2026-11-26T13:32:20Z  robmon 0.2 was started (Python 3.11.8, image registry.example/robmon:0.2)"
    )
    assert "a regression of version 2 over time began" in done.stdout
    assert "settings changed: assess.max_seconds from 10 to 20" in done.stdout


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_disk_without_room_is_told_in_a_sentence(words: list[str], data_dir: Path) -> None:
    command = [sys.executable, "-m", "robmon", "history", "--data-dir", str(data_dir), *words]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "robmon: what is found cannot be written: No space left on device\n")


def test_a_period_and_a_number(data_dir: Path) -> None:
    done = run("--data-dir", data_dir, "--since", "30m", "--events")
    assert [line[22:] for line in done.stdout.splitlines()[2:]] == [
        "settings changed: assess.max_seconds from 10 to 20",
    ]
    done = run("--data-dir", data_dir, "--since", "2026-11-26T19:32", "--last", 3)
    assert [line.split()[1] for line in done.stdout.splitlines()[3:4]] == [str(MINUTES)]
    assert len(run("--data-dir", data_dir, "--since", "7d").stdout.splitlines()) > MINUTES


def test_json_lines_are_all_that_is_kept(data_dir: Path) -> None:
    lines = [json.loads(line) for line in run("--data-dir", data_dir, "--json").stdout.splitlines()]
    assert lines[0]["type"] == "specification" and lines[0]["assess"]["trials"] == 39
    rows = [line for line in lines if line["type"] == "assessment"]
    assert len(rows) == MINUTES and {row["specification_name"] for row in rows} == {lines[0]["name"]}
    assert [line["at"] for line in lines[1:]] == sorted(line["at"] for line in lines[1:])
    only = [json.loads(line)["type"] for line in run("--data-dir", data_dir, "--json", "--events").stdout.splitlines()]
    assert set(only) == {"event"}


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_a_picture(kind: str, data_dir: Path, tmp_path: Path) -> None:
    done = run("--data-dir", data_dir, "--plot", tmp_path / f"h.{kind}")
    assert (done.exit_code, done.stdout) == (0, f"written: {tmp_path}/h.{kind}\n")
    begins = {"svg": b"<?xml", "png": b"\x89PNG"}[kind]
    assert (tmp_path / f"h.{kind}").read_bytes().startswith(begins)


def test_the_daemons_settings_say_where_and_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("digits", "churn"):
        History(tmp_path, name).past.add({"at": BEGIN + 1e8, "number": len(name), "version": name})
    monkeypatch.setenv("ROBMON_DATA_DIR", str(tmp_path))
    done = run()
    assert (done.exit_code, done.stderr) == (
        2, f"robmon: {tmp_path} holds the history of churn, digits: choose one with --model models:/NAME/1\n",
    )  # fmt: skip
    monkeypatch.setenv("ROBMON_MODEL__URI", "models:/churn@champion")
    assert "churn" in run().stdout.splitlines()[3]
    assert "digits" in run("--model", "models:/digits/7").stdout.splitlines()[3], "a row of before has fewer facts"


def no_history(folder: Path) -> str:
    return f"{folder} holds no history: give the daemon's data folder with --data-dir, or its settings with --config"


def another_model(folder: Path) -> str:
    History(folder, "ch\x1burn").past.add({"at": BEGIN, "number": 1})
    return f"{folder} holds no history of digits, only of ch\\x1burn"


def an_older_robmons(folder: Path) -> str:
    (folder / "history").mkdir()
    (folder / "history" / "digits.jsonl").touch()
    return f"{folder} holds files of an older robmon, which the daemon takes over when it starts"


def damaged(folder: Path) -> str:
    file = example(folder).state_file
    content = file.read_bytes()
    page = content.index(b'"number":300') // 4096 * 4096
    file.write_bytes(content[:page] + bytes(4096) + content[page + 4096 :])
    return f"{file} is damaged: a daemon that uses it sets it aside and goes on with all of it that can be read"


def truncated(folder: Path) -> str:
    file = example(folder).state_file
    os.truncate(file, 10_000)
    return f"{file} is damaged: a daemon that uses it sets it aside and goes on with all of it that can be read"


def no_file_of_ours(folder: Path) -> str:
    (folder / "history").mkdir()
    file = folder / "history" / "digits.sqlite"
    file.write_text("{}")
    return f"{file} is damaged: a daemon that uses it sets it aside and goes on with all of it that can be read"


def a_newer_one(folder: Path) -> str:
    file = example(folder).state_file
    with sqlite3.connect(file) as connection:
        connection.executescript("PRAGMA user_version = 2; UPDATE seal SET format = 2")
    connection.close()
    return (
        f"{file} was written by a newer robmon (format 2, and this one knows 1): run that one, or move the file away, "
        "and with it what it remembers"
    )


@pytest.mark.parametrize(
    "prepare", [no_history, another_model, an_older_robmons, damaged, truncated, no_file_of_ours, a_newer_one]
)
def test_what_cannot_be_printed_is_one_sentence(prepare: object, tmp_path: Path) -> None:
    """And nothing there is changed: what is damaged is the daemon's to set aside."""
    assert callable(prepare)
    sentence = prepare(tmp_path)
    before = {path: path.stat() for path in tmp_path.rglob("*")}
    done = run("--data-dir", tmp_path, "--model", "models:/digits@champion")
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"robmon: {sentence}\n")
    after = {path: path.stat() for path in tmp_path.rglob("*")}
    assert {path: each.st_mtime_ns for path, each in after.items()} == {
        path: each.st_mtime_ns for path, each in before.items()
    }


@pytest.mark.parametrize("since", ["yesterday", "0x5h", "-1h", "2026-13-01", "24", "9999999h", ""])
def test_a_period_that_is_none(since: str, data_dir: Path) -> None:
    done = run("--data-dir", data_dir, "--since", since)
    assert done.exit_code == 2 and "is neither a length of time, as 90m, 24h or 7d, nor a time" in done.stderr


def test_periods() -> None:
    assert period_of("1.5h") == Period(seconds=5400.0) and period_of("2w").seconds == 14 * 86400
    assert period_of("2026-11-27").since == period_of("2026-11-27T01:00+01:00").since == 1795737600.0
    assert period_of(None) == Period()


def test_a_file_that_is_written_meanwhile(tmp_path: Path) -> None:
    """Also where what was committed last lies in a log that no connection has taken over yet."""
    history = History(tmp_path, "m")
    history.past.add({"at": BEGIN + 1e8, "number": 1})
    writer = sqlite3.connect(history.state_file, isolation_level=None)
    writer.execute("UPDATE assessments SET number = number")
    writer.execute("BEGIN IMMEDIATE")
    reader = HistoryReader(tmp_path, "m")
    assert [row["number"] for row in reader.assessments()] == [1]
    writer.execute("ROLLBACK")
    writer.close()
    history.past.add({"at": BEGIN + 1e8 + 1, "number": 2})
    assert [row["number"] for row in reader.assessments()] == [1, 2]


def test_of_many_assessments_the_worst_of_each_stretch_are_kept(data_dir: Path) -> None:
    rows = list(HistoryReader(data_dir, NAME).assessments())
    few, counts = worst_of(iter(rows), 40, badness)
    assert 20 < len(few) <= 81 and counts == {"1": LOADED, "2": MINUTES - LOADED}
    assert [row["number"] for row in few] == sorted(row["number"] for row in few)
    assert max(rows, key=badness) in few and rows[-1] in few and rows[LOADED - 1] in few
    assert [row["number"] for row in few if "attribution" in row] == [WORSE + 14]
    assert worst_of(iter(rows), 1000, badness)[0] == rows and worst_of(iter([]), 3, badness)[0] == []


def test_the_example_is_what_it_says(data_dir: Path) -> None:
    rows = list(HistoryReader(data_dir, NAME).assessments())
    versions = [row["version"] for row in rows]
    assert versions.index("2") == LOADED and rows[WORSE]["mse"] > 1.5 * rows[WORSE - 1]["mse"]
