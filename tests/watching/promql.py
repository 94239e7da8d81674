"""What a PromQL expression names: its selectors, and which of them an aggregation reaches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import promql_parser


def parse(expression: str) -> Any:
    """The syntax tree of an expression, Grafana's variables for durations replaced."""
    return promql_parser.parse(expression.replace("$__rate_interval", "5m").replace("$__range", "1h"))


def selectors(node: Any) -> Iterator[Any]:
    """Every vector selector below a node."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for child in children(node):
        yield from selectors(child)


def aggregations(node: Any) -> Iterator[Any]:
    """Every aggregation below a node, itself included."""
    if isinstance(node, promql_parser.AggregateExpr):
        yield node
    for child in children(node):
        yield from aggregations(child)


def children(node: Any) -> list[Any]:
    """The nodes directly below a node."""
    single = [getattr(node, name, None) for name in ("lhs", "rhs", "expr", "vector_selector")]
    return [child for child in (*single, *getattr(node, "args", [])) if child is not None]


def matchers(selector: Any) -> dict[str, str]:
    """A selector's label matchers, as label -> operator and value."""
    signs = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}
    return {matcher.name: signs[str(matcher.op)] + matcher.value for matcher in selector.matchers.matchers}
