"""A MutatingAdmissionPolicy, carried out on a pod by Google's CEL runtime as Kubernetes' API server would.

What is not Google's: Kubernetes' literals `JSONPatch{...}` and `Object.x{...}` become maps, whose values may be of any
type. Kubernetes' own checker takes no list or map of mixed types, and no literal of another path than its field's:
`literal_faults` looks for these.
"""

from __future__ import annotations

import copy
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


def evaluate(expression: str, **data: Any) -> Any:
    """What an expression is of these variables.

    Raises:
        ValueError: it cannot be compiled or evaluated.
    """
    untyped = _FIELD.sub(r'\1"\2": ', _TYPED.sub("{", expression))
    value = _ENVIRONMENT.compile(untyped).eval(data=data)
    if value.type() == cel.Type.ERROR:
        raise ValueError(f"{value.value()}: {expression}")
    return value.plain_value()


def admit(policy: Manifest, pod: Manifest) -> Manifest:
    """The pod as it is stored after the policy.

    Raises:
        ValueError: an expression fails, in which case the API server would admit the pod as it is (failurePolicy).
    """
    spec = policy["spec"]
    if not all(evaluate(condition["expression"], object=pod) for condition in spec["matchConditions"]):
        return pod
    variables: dict[str, Any] = {}
    for variable in spec["variables"]:
        variables[variable["name"]] = evaluate(variable["expression"], object=pod, variables=variables)
    admitted = copy.deepcopy(pod)
    for mutation in spec["mutations"]:
        assert mutation["patchType"] == "JSONPatch"
        patch = evaluate(mutation["jsonPatch"]["expression"], object=pod, variables=variables)
        admitted = jsonpatch.apply_patch(admitted, patch)
    return admitted
