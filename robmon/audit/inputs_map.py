"""The map of an audit: on which inputs each model is audited, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from robmon.audit.selection import fits
from robmon.errors import InvalidInputError, RobmonError
from robmon.extras import MissingPackageError
from robmon.models.yaml_text import YamlTextError, parse_yaml
from robmon.robustness.checks import words
from robmon.robustness.noise.images.layout import ImageLayout
from robmon.robustness.specification import Specification
from robmon.wording import printable

ATTACK_OPTIONS: Final = frozenset({"attacks", "norm", "radii", "steps", "restarts", "queries", "clip", "frozen"})
CERTIFY_OPTIONS: Final = frozenset({"radii", "norm", "method"})
_OWN: Final = ("inputs", "target", "absolute", "seed", "attack", "certify", "advise", "python")
_SPECIFICATION: Final = tuple(each.name for each in fields(Specification))


@dataclass(frozen=True)
class AuditedOn:
    """One entry: inputs, and what is done with them to every model that it is for.

    Attributes:
        pattern: of the models' names.
        inputs: path or URL of the file of inputs.
        targets: columns of the labels; empty: there are none, and no ranking but of embeddings.
        specification: of the assessment.
        absolute: whether levels and radii are in input units.
        seed: of all that is drawn.
        attack: options of `robmon.attack`; None: no attack.
        certify: options of `robmon.certify`; None: no certificate.
        advise: whether the layers of torch models are read, see `robmon.advise`.
        python: the interpreter with what the models need; None: this one.
    """

    pattern: str
    inputs: str
    targets: tuple[str, ...] = ()
    specification: Specification = field(default_factory=Specification)
    absolute: bool = False
    seed: int = 0
    attack: Mapping[str, Any] | None = None
    certify: Mapping[str, Any] | None = None
    advise: bool = False
    python: str | None = None

    def settings(self) -> dict[str, Any]:
        """What results depend on, inputs aside, as JSON has it."""
        return {
            "targets": list(self.targets),
            "specification": self.specification.to_dict(),
            "absolute": self.absolute,
            "seed": self.seed,
            "attack": None if self.attack is None else dict(self.attack),
            "certify": None if self.certify is None else dict(self.certify),
            "advise": self.advise,
        }


def read_map(file: Path) -> list[AuditedOn]:
    """The entries of a YAML file: patterns of models' names, each with a file of inputs or with what is to be done.

    Paths of inputs are relative to the map.

    Raises:
        InvalidInputError: it cannot be used; one sentence that says where and what is allowed.
    """
    try:
        content = parse_yaml(file.read_bytes())
    except OSError as error:
        raise InvalidInputError(f"{file} cannot be read: {error.strerror}") from None
    except YamlTextError as error:
        raise InvalidInputError(f"{file} {error}") from None
    if not isinstance(content, dict) or not content or not all(isinstance(name, str) for name in content):
        raise InvalidInputError(f"{file} maps no model to inputs: a line is `name: inputs.parquet`, `*` stands for all")
    return [_entry(file, pattern, value) for pattern, value in content.items()]


def entry_for(entries: list[AuditedOn], model: str) -> AuditedOn | None:
    """The first entry whose pattern fits a model's name.

    >>> entries = [AuditedOn("digits-*", "a.npy"), AuditedOn("*", "b.npy")]
    >>> [entry_for(entries, name).inputs for name in ("digits-small", "fraud")]
    ['a.npy', 'b.npy']
    """
    return next((entry for entry in entries if fits(model, entry.pattern)), None)


def told_of(entry: AuditedOn) -> str:
    """What a sentence calls an entry."""
    return f"{printable(entry.pattern)} of the map"


def _entry(file: Path, pattern: str, value: Any) -> AuditedOn:
    where = f"{file}: {printable(pattern)}"
    given = {"inputs": value} if isinstance(value, str) else value
    if not isinstance(given, dict) or not isinstance(given.get("inputs"), str):
        raise InvalidInputError(
            f"{where} says no inputs: it is a path or URL, or has `inputs: path` among its settings"
        )
    if unknown := sorted(set(map(str, given)) - {*_OWN, *_SPECIFICATION}):
        known = ", ".join((*_OWN, *_SPECIFICATION))
        raise InvalidInputError(f"{where}: {', '.join(unknown)} is not known: it is one of {known}")
    try:
        specification = _specification({name: given[name] for name in _SPECIFICATION if name in given})
        targets = words(given.get("target"))
        seed = _typed(given, "seed", int, 0)
        if seed < 0:
            raise InvalidInputError(f"seed must be at least 0, not {seed}")
        return AuditedOn(
            pattern=pattern,
            inputs=_place(file, given["inputs"]),
            targets=targets,
            specification=specification,
            absolute=_typed(given, "absolute", bool, False),
            seed=seed,
            attack=_options(given, "attack", ATTACK_OPTIONS, specification, _check_attack),
            certify=_options(given, "certify", CERTIFY_OPTIONS, specification, _check_certificate),
            advise=_typed(given, "advise", bool, False),
            python=_typed(given, "python", str, None),
        )
    except RobmonError as error:
        raise InvalidInputError(f"{where}: {error}") from None


def _specification(given: dict[str, Any]) -> Specification:
    layout = given.get("layout")
    if layout is not None and not isinstance(layout, dict):
        raise InvalidInputError("layout has channels, range, mean and std, as robmon.ImageLayout does")
    try:
        return Specification(**{**given, "layout": None if layout is None else ImageLayout.from_dict(layout)})
    except (TypeError, ValueError) as error:
        if isinstance(error, RobmonError):
            raise
        raise InvalidInputError(f"a value cannot be used: {type(error).__name__}, see robmon.assess") from None


def _options(
    given: dict[str, Any],
    name: str,
    known: frozenset[str],
    specification: Specification,
    check: Callable[[dict[str, Any]], None],
) -> Any:
    """The options of a probe; None where it is not asked for."""
    value = given.get(name)
    if value in (None, False):
        return None
    options = {} if value is True else value
    if not isinstance(options, dict) or set(options) - known:
        raise InvalidInputError(f"{name} is true, or has some of {', '.join(sorted(known))}")
    if specification.task != "classification":
        raise InvalidInputError(f"{name} is of classes: set task: classification")
    if "norm" in options:
        options = options | {"norm": str(options["norm"])}  # YAML takes 2 for a number
    try:
        check(options)
    except (InvalidInputError, MissingPackageError) as error:
        raise InvalidInputError(f"{name}: {error}") from None
    except (TypeError, ValueError):
        raise InvalidInputError(f"{name}: a value cannot be used, see robmon.{name}") from None
    return options


def _check_attack(options: dict[str, Any]) -> None:
    from robmon.library.art_attacks import check_attacks

    counts = {name: options[name] for name in ("steps", "restarts", "queries") if name in options}
    usual = {"radii": (1.0,), "norm": "2", "attacks": ("pgd",)}
    given = {name: options.get(name, value) for name, value in usual.items()}
    check_attacks(**given, has_substitute=False, **counts)


def _check_certificate(options: dict[str, Any]) -> None:
    if not options.get("radii"):
        raise InvalidInputError("it needs radii, such as certify: {radii: [0.05, 0.1]}")
    from robmon.robustness.probes.certificate.certify import METHODS, check_options

    check_options(options["radii"], options.get("norm", "2"), options.get("method", METHODS[0]))


def _typed(given: dict[str, Any], name: str, kind: type, otherwise: Any) -> Any:
    value = given.get(name, otherwise)
    if value is not otherwise and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        names = {int: "a whole number", bool: "true or false", str: "a text"}
        raise InvalidInputError(f"{name} is {names[kind]}, not {printable(value)}")
    return value


def _place(file: Path, inputs: str) -> str:
    return inputs if "://" in inputs else str((file.parent / inputs).absolute())
