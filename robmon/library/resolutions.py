"""The pictures that the other versions of a registered model take, by their signatures."""

from __future__ import annotations

from typing import Any, Final

from robmon.errors import RobmonError
from robmon.models.uri import is_endpoint, parse_registry
from robmon.robustness.noise.images.layout import CHANNEL_COUNTS

MOST_VERSIONS: Final = 20
"""The newest, of which the signatures are read."""
Sizes = list[tuple[str, tuple[int, int]]]


def other_resolutions(uri: str) -> Sizes:
    """Height and width of the pictures that the other versions take, by the versions' numbers, each size once, the
    newest version that has it; empty where the URI names no registered version.

    Raises:
        RegistryError, ModelNotFoundError: the registry did not answer, or there is no such model.
    """
    if is_endpoint(uri) or not uri.startswith("models:/"):
        return []
    parsed = parse_registry(uri)
    if not parsed.is_registered:
        return []
    from robmon.models.registry.download import Requirements, check_version
    from robmon.models.registry.registry import Registry

    registry = Registry()
    own = registry.resolve(uri).version
    found: dict[tuple[int, int], str] = {}
    others = [each for each in registry.versions(parsed.name) if str(each.number) != own]
    for version in sorted(others, key=lambda each: -each.number)[:MOST_VERSIONS]:
        try:
            signature = check_version(registry, registry.resolve(version.uri), Requirements()).inputs
        except RobmonError:  # of that version alone, of which nothing is asked
            continue
        size = resolution_of([each.get("tensor-spec", {}).get("shape") for each in signature or ()])
        if size is not None:
            found.setdefault(size, str(version.number))
    return [(version, size) for size, version in found.items()]


def resolution_of(shapes: Any) -> tuple[int, int] | None:
    """Height and width, where all there is is one tensor of pictures and its size is fixed.

    >>> resolution_of([(-1, 3, 224, 160)]), resolution_of([(-1, 32, 32, 1)]), resolution_of([(-1, 3, -1, -1)])
    ((224, 160), (32, 32), None)
    """
    if len(shapes) != 1 or shapes[0] is None or len(shapes[0]) != 4:
        return None
    _, *rest = shapes[0]
    fitting = [axis for axis in (0, 2) if rest[axis] in CHANNEL_COUNTS]
    if not fitting:
        return None
    height, width = (int(each) for axis, each in enumerate(rest) if axis != fitting[0])
    return (height, width) if min(height, width) > 0 else None
