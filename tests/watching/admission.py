"""Kubernetes' admission policies, carried out on an object by Google's CEL runtime as the API server would.

What is not Google's: Kubernetes' literals `JSONPatch{...}` and `Object.x{...}` become maps, whose values may be of any
type. Kubernetes' own checker takes no list or map of mixed types, and no literal of another path than its field's:
`literal_faults` looks for these.
"""

from __future__ import annotations

import copy
import functools
import re
from typing import Any

import jsonpatch
from cel_expr_python import cel
from cel_expr_python.ext import ext_optional

from tests.watching.kubernetes import Manifest

_ENVIRONMENT = cel.NewEnv(
    variables={"object": cel.Type.DYN, "variables": cel.Type.DYN}, extensions=[ext_optional.ExtOptional()]
)
_TYPED = re.compile(r"\b(?:JSONPatch|Object(?:\.\w+)+)\{")
_FIELD = re.compile(r"([{,]\s*)(\w+): ")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|(?P<type>JSONPatch|Object(?:\.\w+)+)?(?P<open>[\[{(])|[\])}]|[,:?]|\w+')


def evaluate(expression: str, **data: Any) -> Any:
    """What an expression is of these variables.

    Raises:
        ValueError: it cannot be compiled or evaluated.
    """
    value = _compile(expression).eval(data=data)
    if value.type() == cel.Type.ERROR:
        raise ValueError(f"{value.value()}: {expression}")
    return value.plain_value()


@functools.cache
def _compile(expression: str) -> cel.Expression:
    return _ENVIRONMENT.compile(_FIELD.sub(r'\1"\2": ', _TYPED.sub("{", expression)))


def admit(policy: Manifest, pod: Manifest) -> Manifest:
    """The pod as it is after a MutatingAdmissionPolicy.

    Raises:
        ValueError: an expression fails, in which case the API server would admit the pod as it is (failurePolicy).
    """
    spec = policy["spec"]
    if not all(evaluate(condition["expression"], object=pod) for condition in spec["matchConditions"]):
        return pod
    variables = _variables(spec, pod)
    admitted = copy.deepcopy(pod)
    for mutation in spec["mutations"]:
        assert mutation["patchType"] == "JSONPatch"
        patch = evaluate(mutation["jsonPatch"]["expression"], object=pod, variables=variables)
        admitted = jsonpatch.apply_patch(admitted, patch)
    return admitted


def warnings(policy: Manifest, given: Manifest) -> list[str]:
    """What a ValidatingAdmissionPolicy has to say of an object."""
    spec = policy["spec"]
    variables = _variables(spec, given)
    return [
        validation["message"]
        for validation in spec["validations"]
        if not evaluate(validation["expression"], object=given, variables=variables)
    ]


def _variables(spec: Manifest, given: Manifest) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variable in spec["variables"]:
        found[variable["name"]] = evaluate(variable["expression"], object=given, variables=found)
    return found


def literal_faults(expression: str) -> list[str]:
    """What Kubernetes' checker would find in literals that Google's does not, as sentences."""
    faults: list[str] = []
    stack: list[tuple[str, str, set[str]]] = []  # what encloses: its bracket, its type, the kinds of its items
    field = ""  # the field of which a value comes next
    tokens = [*_TOKEN.finditer(expression)]
    for index, token in enumerate(tokens):
        text = token.group()
        after = tokens[index + 1].group() if index + 1 < len(tokens) else ""
        before = tokens[index - 1].group() if index else ""
        if stack and stack[-1][0] != "(" and _begins_item(stack[-1][0], before):
            bracket, of_type, kinds = stack[-1]
            is_typed_field = bracket == "{" and of_type
            kind = _kind(token)
            if kind and not is_typed_field:
                kinds.add(kind)
            expected = f"{of_type}.{field}" if is_typed_field else of_type if bracket == "[" else ""
            if kind.startswith("Object.") and expected and not expected.startswith("JSONPatch") and kind != expected:
                faults.append(f"{kind} stands where {expected} is meant")
        if token["open"]:
            inherited = f"{stack[-1][1]}.{field}" if token["open"] == "[" and stack and stack[-1][1] else ""
            stack.append((token["open"], token["type"] or inherited, set()))
        elif text in {"]", "}", ")"}:
            bracket, _, kinds = stack.pop()
            if len(kinds) > 1:
                faults.append(f"a {'list' if bracket == '[' else 'map'} holds {' and '.join(sorted(kinds))}")
        elif after == ":" and text.isidentifier():
            field = text
    return faults


def _begins_item(bracket: str, before: str) -> bool:
    return before.endswith("[") or before == "," if bracket == "[" else before == ":"


def _kind(token: re.Match[str]) -> str:
    text = token.group()
    if text.startswith('"'):
        return "text"
    if text.isdigit():
        return "numbers"
    if text in {"true", "false"}:
        return "truth values"
    if token["type"]:
        return str(token["type"])
    return {"[": "lists", "{": "maps"}.get(text, "")
