"""The reasons for which a codec can reject a request."""

from __future__ import annotations

import ast
from pathlib import Path

import robmon.inputs.codecs


def reasons() -> set[str]:
    """Every reason that a codec can give, from its source."""
    return {
        node.args[0].value
        for file in Path(robmon.inputs.codecs.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "CodecError"
        and isinstance(node.args[0], ast.Constant)
    }


REASONS = reasons()
