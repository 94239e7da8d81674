"""A map's mistakes: those that concern every version are told before one is loaded, by the entry that holds them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from robmon.audit.audit import Plan, plan
from robmon.audit.inputs_map import AuditedOn, read_map
from robmon.audit.map_checks import check_python
from robmon.audit.store import open_place
from robmon.audit.task import Task
from robmon.errors import InvalidInputError
from robmon.models.registry.listing import ListedVersion

VERSION = ListedVersion("digits-small", 1, (), {}, "")


def written(folder: Path, text: str) -> Path:
    file = folder / "map.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def planned(folder: Path, text: str) -> Plan:
    """What the map says of one version, on files that are there: numbers, text, gaps, an array and no table."""
    numbers = np.random.default_rng(0).normal(size=(6, 2))
    frame = pd.DataFrame({"a": numbers[:, 0], "b": numbers[:, 1], "kind": ["x", "y"] * 3, "count": range(6)})
    frame.assign(gap=[1.0, 2.0, None, 4.0, np.inf, 6.0]).to_csv(folder / "rows.csv", index=False)
    frame[["a", "b"]].to_csv(folder / "plain.csv", index=False)
    np.save(folder / "flat.npy", numbers)
    (folder / "broken.parquet").write_bytes(b"PAR1 and no more")
    (folder / "rows.txt").write_text("1 2")
    (folder / "lines.jsonl").write_text('{"a": 1.5}\n[2]\n{"a": 2.5}\n')
    scratch = folder / "scratch"
    scratch.mkdir()
    return plan([VERSION], read_map(written(folder, text)), open_place(str(folder / "out")), scratch)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[1, 2]", "maps no model to inputs"),
        ('"*": {target: y}', "says no inputs"),
        ('"*": {inputs: x.csv, levles: [0.1]}', "levles is not known: it is one of inputs, target"),
        ('"*": {inputs: x.csv, trials: 5}', "5 trials are too few"),
        ('"*": {inputs: x.csv, noise: nix}', "nix"),
        ('"*": {inputs: x.csv, task: classes}', "classes"),
        ('"*": {inputs: x.csv, attack: true}', "attack is of classes: set task: classification"),
        ('"*": {inputs: x.csv, task: classification, certify: true}', "certify: it needs radii"),
        ('"*": {inputs: x.csv, task: classification, certify: {radii: [0.1], method: luck}}', "certify: method"),
        ('"*": {inputs: x.csv, task: classification, certify: {radii: [-1]}}', "radii must be finite numbers above 0"),
        ('"*": {inputs: x.csv, task: classification, attack: {attacks: [pdg]}}', "attack: attack 'pdg' is not known"),
        ('"*": {inputs: x.csv, task: classification, attack: {attacks: pgd}}', "attack: attacks are some of"),
        ('"*": {inputs: x.csv, task: classification, attack: {norm: 3}}', "attack: norm '3'"),
        ('"*": {inputs: x.csv, task: classification, attack: {steps: many}}', "attack: steps"),
        ('"*": {inputs: x.csv, task: classification, attack: {attacks: [transfer]}}', "attack: .*substitute"),
        ('"*": {inputs: x.csv, seed: -1}', "seed must be at least 0"),
        ('"*": {inputs: x.csv, seed: a}', "seed is a whole number, not a"),
        ('"*": {inputs: x.csv, trials: [a]}', "trials"),
        ('"*": {', "is not YAML"),
        ("[" * 100_000, "is not YAML"),
        ('"*": a.csv\n"*": b.csv', "says . twice .line 2.: only the later one would hold"),
    ],
)
def test_a_map_that_cannot_be_used_is_told(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=sentence.replace("[", r"\[")):
        read_map(written(tmp_path, text))


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("nowhere.csv", "nowhere.csv cannot be read: No such file or directory"),
        (".", "cannot be read: Is a directory"),
        ("rows.txt", "rows.txt: the name of a file of inputs must end in"),
        ("broken.parquet", r"broken.parquet is not a .parquet file that can be read"),
        ("{inputs: rows.csv, target: lable}", "rows.csv has no column lable for the targets"),
        ("{inputs: flat.npy, target: y}", "flat.npy has no named columns, so no target column y"),
        ("{inputs: rows.csv, target: gap}", r"2 of 6 rows have no target .* row 2 \(counted from 0\)"),
        ("{inputs: rows.csv, target: kind}", "the targets are no numbers, .*: set task: classification"),
        ("{inputs: rows.csv, target: kind, task: embedding}", "embeddings have no targets: leave target out"),
        ("{inputs: rows.csv, task: classification, accuracy_limit: 0.9}", "which needs a target"),
        ("{inputs: rows.csv, integers: [count, cuont]}", "integers names cuont, no column among the inputs"),
        ("{inputs: plain.csv, noise: jpeg}", "noise jpeg is of images, and the inputs are rows of single numbers"),
        ("{inputs: flat.npy, noise: brightness}", "noise brightness is of images"),
    ],
)
def test_what_is_wrong_for_every_version_is_told_before_one_is_loaded(
    tmp_path: Path, entry: str, sentence: str
) -> None:
    with pytest.raises(InvalidInputError, match=rf"^digits-\* of the map: .*{sentence}") as told:
        planned(tmp_path, f'"digits-*": {entry}\n"*": nowhere-else.csv\n')
    assert "scratch" not in str(told.value)  # the file by the name that it has in the map


def test_what_fits_some_models_is_left_to_them(tmp_path: Path) -> None:
    text = '"digits-*": {inputs: rows.csv, target: kind, task: classification, integers: [count], attack: {norm: 2}}'
    made = planned(tmp_path, text)
    assert made.told == () and made.missing[0].entry.attack == {"norm": "2"}
    (tmp_path / "more").mkdir()
    made = planned(tmp_path / "more", '"*": lines.jsonl')
    (sentence,) = made.told
    assert sentence.startswith("1 of 3 lines of ") and sentence.endswith("lines.jsonl are no JSON object, and are "
                                                                         "left out: 2")  # fmt: skip


def test_an_interpreter_that_cannot_load_models_is_told(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I "$@"\n')
    for python, why in [
        ("/nowhere/python", "cannot be started: No such file or directory"),
        (str(tmp_path), "cannot be started: Permission denied"),
        (str(bare), "cannot be started: Permission denied"),
    ]:
        with pytest.raises(InvalidInputError, match=rf"^digits-\* of the map: python {python} {why}$"):
            check_python(AuditedOn("digits-*", "a.npy", python=python))
    bare.chmod(0o755)
    with pytest.raises(InvalidInputError, match="cannot import NumPy and pydantic"):
        check_python(AuditedOn("*", "a.npy", python=str(bare)))
    check_python(AuditedOn("*", "a.npy", python=sys.executable))


def test_another_interpreter_is_tried_anew_but_ranked_beside_the_others() -> None:
    """A version that failed for want of a package is not left at that when the map names an interpreter that has it."""
    tasks = [Task("m", 1, "", AuditedOn("*", "a.npy", python=python), "") for python in (None, "/opt/m/bin/python")]
    assert tasks[0].digest != tasks[1].digest and tasks[0].group == tasks[1].group
