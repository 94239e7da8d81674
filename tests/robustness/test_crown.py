"""Bounds by lines: no point of a ball is beyond them, intervals are no tighter, and auto_LiRPA's are the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import robmon
from robmon.robustness.probes.certificate import crown
from robmon.robustness.probes.certificate.crown import LinearBounds
from robmon.robustness.probes.certificate.graph import Graph, Node
from robmon.robustness.probes.certificate.interval import Box, box_of, boxes
from robmon.robustness.probes.certificate.operators import RISING, VALLEYS
from robmon.robustness.probes.certificate.reading import read
from robmon.robustness.probes.certificate.relaxation import BENDS, lines

NORMS = ("2", "inf")


# --- functions of each cell -------------------------------------------------------------------------------------------


def prelu() -> nn.Module:
    return nn.PReLU(3, 0.3).double()


FUNCTIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "leaky_relu, steep": lambda: nn.LeakyReLU(2.0),
    "prelu": prelu,
    "relu6": nn.ReLU6,
    "hardtanh": lambda: nn.Hardtanh(-0.5, 1.5),
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish,
    "elu": lambda: nn.ELU(1.7),
    "celu": lambda: nn.CELU(0.3),
    "selu": nn.SELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "log_sigmoid": nn.LogSigmoid,
    "softplus": nn.Softplus,
    "softplus, sharp": lambda: nn.Softplus(7.0),
    "gelu": nn.GELU,
    "gelu of tanh": lambda: nn.GELU("tanh"),
    "silu": nn.SiLU,
    "abs": lambda: Function(torch.abs),
    "clamp": lambda: Function(lambda x: torch.clamp(x, -0.3, 0.7)),
    "clamp_min": lambda: Function(lambda x: torch.clamp_min(x, -0.3)),
    "clamp_max": lambda: Function(lambda x: torch.clamp_max(x, 0.3)),
}


class Function(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


def test_every_function_of_which_intervals_are_known_has_lines_and_is_tried_here() -> None:
    assert set(BENDS) == RISING | set(VALLEYS) == {name.split(",")[0] for name in FUNCTIONS}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_a_function_lies_between_its_lines(kind: str) -> None:
    module = FUNCTIONS[kind]()
    centre = torch.linspace(-5, 5, 41, dtype=torch.float64)[:, None].expand(41, 3).contiguous()
    graph = read(module, centre)
    for size in (0.0, 0.1, 1.0, 4.0, 50.0):
        box = Box(centre, torch.full_like(centre, size))
        values = box_of(graph.output, {graph.input: box}, "inf")
        below, above = lines(graph.output, box, values)
        for place in torch.linspace(-1, 1, 51, dtype=torch.float64):
            points = box.centre + place * box.radius
            value = module(points).detach()
            assert (below.slope * points + below.at <= value + 1e-14).all()
            assert (above.slope * points + above.at >= value - 1e-14).all()
        gap = (above.slope - below.slope) * centre + above.at - below.at
        assert (gap <= values.high - values.low + 1e-7).all(), "no wider than level ones"
        if 0 < size <= 0.1:
            smooth = gap[(gap < 0.05 * size).all(dim=1)]
            assert len(smooth) > 30, "and far narrower where the function is nearly straight"


@pytest.mark.parametrize("name", BENDS)
def test_no_function_bends_more_than_it_is_taken_for(name: str) -> None:
    kinds = [kind for kind in FUNCTIONS if kind.split(",")[0] == name]
    for kind in kinds:
        module = FUNCTIONS[kind]()
        node = read(module, torch.zeros(2, 3, dtype=torch.float64)).output
        step = 1e-3
        places = torch.arange(-9, 9, step, dtype=torch.float64)
        values = module(places[:, None].expand(-1, 3)).detach()[:, 0]
        second = (values[2:] - 2 * values[1:-1] + values[:-2]) / step**2
        kinks = [float(kink) for kink in BENDS[name].kinks(node.arguments)]
        away = torch.stack([(places[1:-1] - kink).abs() > 2 * step for kink in [*kinks, 99.0]]).all(dim=0)
        assert float(second[away].abs().max()) <= BENDS[name].curvature(node.arguments) * (1 + 1e-6) + 1e-8
        if kinks and name not in ("elu", "celu", "selu", "softplus", "hardswish"):
            assert float(second[~away].abs().max()) > 1.0, "its kinks are where they are said to be"


def test_lines_of_relu_are_those_of_the_paper() -> None:
    low, high = torch.tensor([[-1.0, -3.0, 0.5, -2.0]]).double(), torch.tensor([[3.0, 1.0, 2.0, -1.0]]).double()
    node = read(nn.ReLU(), low.expand(2, 4)).output
    box = Box((low + high) / 2, (high - low) / 2)
    below, above = lines(node, box, box_of(node, {node.sources[0]: box}, "inf"))
    torch.testing.assert_close(below.slope, torch.tensor([[1.0, 0.0, 1.0, 0.0]]).double())
    torch.testing.assert_close(above.slope, torch.tensor([[0.75, 0.25, 1.0, 0.0]]).double())
    torch.testing.assert_close(above.at, torch.tensor([[0.75, 0.75, 0.0, 0.0]]).double())


# --- networks ---------------------------------------------------------------------------------------------------------


class Branches(nn.Module):
    """Sums, differences, concatenation, a shared value, slices, padding."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.norm, self.end = nn.BatchNorm2d(4, affine=False), nn.Linear(4 * 9 + 2 * 16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = torch.relu(self.norm(self.first(x * 2 - 0.3)))
        inner = nn.functional.pad(inner, (1, 1, 1, 1), value=0.5) - nn.functional.pad(inner, (1, 1, 1, 1)).mul(0.1)
        inner = inner[:, :, 1:-1, 1:-1] + inner[:, :, :-2, 2:]
        other = torch.cat([torch.tanh(self.second(inner))[:, :2], inner[:, 2:]], dim=1) + inner
        pooled = nn.functional.max_pool2d(other, 2, stride=1)
        bent = nn.functional.leaky_relu(inner[:, 1:3], 0.2)
        result: torch.Tensor = self.end(torch.cat([pooled.flatten(1), bent.flatten(1)], dim=1))
        return result


def end(cells: int) -> tuple[nn.Module, ...]:
    return nn.Flatten(), nn.Linear(cells, 3)


def dense(first: nn.Module, second: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(32, 16), first, nn.Linear(16, 12), second, nn.Linear(12, 3))


def conv() -> nn.Module:
    return nn.Conv2d(2, 4, 3, padding=1)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "dense": lambda: dense(nn.ReLU(), nn.ReLU()),
    "smooth": lambda: dense(nn.Tanh(), nn.GELU()),
    "average pool": lambda: nn.Sequential(
        conv(), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(4, 3, 2), nn.Sigmoid(), *end(3)
    ),
    "max pool": lambda: nn.Sequential(
        conv(), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 8), nn.ELU(), nn.Linear(8, 3)
    ),
    "max pool first": lambda: nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(2, 3, 2), nn.ReLU(), *end(3)),
    "adaptive max": lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.AdaptiveMaxPool2d(1), *end(4)),
    "branches": Branches,
}


def network(kind: str) -> nn.Module:
    torch.manual_seed(0)
    module = NETWORKS[kind]().double().eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.copy_(torch.linspace(-0.3, 0.3, 4))
            part.running_var.copy_(torch.linspace(0.3, 1.4, 4))
    return module.requires_grad_(False)


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return torch.tensor(np.random.default_rng(1).normal(size=(6, 2, 4, 4)))


def each_cell(bounds: LinearBounds, node: Node) -> tuple[torch.Tensor, torch.Tensor]:
    """The lowest and highest that each cell may be, `(rows, cells)`."""
    functions = torch.eye(node.cells, dtype=torch.float64).reshape(-1, *node.shape[1:])
    functions = functions.expand(len(bounds.rows), *functions.shape)
    return bounds.lower(node, functions), -bounds.lower(node, -functions)


def around(rows: torch.Tensor, radius: float, norm: str, count: int) -> torch.Tensor:
    """Points of each row's ball, most of them on its border, `(count, rows, ...)`."""
    generator = torch.Generator().manual_seed(0)
    steps = torch.randn(count, *rows.shape, generator=generator, dtype=torch.float64)
    steps = steps.sign() if norm == "inf" else steps / steps.flatten(2).norm(dim=2)[:, :, None, None, None]
    steps[::4] *= torch.rand(1, generator=generator, dtype=torch.float64)
    return rows + radius * steps


@pytest.mark.parametrize("radius", [0.02, 0.5])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", NETWORKS)
def test_no_point_of_a_ball_is_beyond_the_bounds_of_any_value(
    kind: str, norm: Any, radius: float, pictures: torch.Tensor
) -> None:
    module = network(kind)
    graph, moves = read(module, pictures), torch.full(pictures.shape[1:], radius, dtype=torch.float64)
    bounds = LinearBounds(graph, pictures, moves, norm)
    points = around(pictures, radius, norm, 100)
    worst = steepest(module, graph, pictures, radius, norm)
    for node in graph.nodes[1:]:
        values = graph.evaluate(node, {graph.input: points.flatten(0, 1)}).reshape(len(points), len(pictures), -1)
        low, high = each_cell(bounds, node)
        assert (values.amin(dim=0) >= low).all()
        assert (values.amax(dim=0) <= high).all()
        assert (values.amin(dim=0) >= bounds.around[node].low.flatten(1)).all()
        assert (values.amax(dim=0) <= bounds.around[node].high.flatten(1)).all()
    low, high = each_cell(bounds, graph.output)
    assert (worst >= low).all(), "also where the gradient leads"
    interval = boxes(graph, pictures, moves, norm, [graph.output])[graph.output]
    mine = torch.maximum(low, bounds.around[graph.output].low), torch.minimum(high, bounds.around[graph.output].high)
    assert (mine[0] >= interval.low - 1e-9).all()
    assert (mine[1] <= interval.high + 1e-9).all()
    assert float((mine[1] - mine[0]).mean()) < float(2 * interval.radius.mean())


def steepest(module: nn.Module, graph: Graph, rows: torch.Tensor, radius: float, norm: str) -> torch.Tensor:
    """The lowest of each output that projected gradients find, `(rows, outputs)`."""
    found = torch.full((len(rows), graph.output.cells), math.inf, dtype=torch.float64)
    for output in range(graph.output.cells):
        moves = torch.zeros_like(rows)
        for _ in range(8):
            moves.requires_grad_()
            with torch.enable_grad():
                (slope,) = torch.autograd.grad(module(rows + moves)[:, output].sum(), moves)
            size = slope.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]
            moves = (moves - radius / 4 * (slope.sign() if norm == "inf" else slope / size)).detach()
            length = moves.flatten(1).norm(dim=1)[:, None, None, None]
            moves = moves.clamp(-radius, radius) if norm == "inf" else moves * (radius / length.clamp_min(radius))
            found[:, output] = torch.minimum(found[:, output], module(rows + moves)[:, output])
    return found


def test_what_is_not_bounded_again_keeps_its_interval(pictures: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    module = network("dense")
    graph, moves = read(module, pictures), torch.full(pictures.shape[1:], 0.1, dtype=torch.float64)
    full = each_cell(LinearBounds(graph, pictures, moves, "inf"), graph.output)
    monkeypatch.setattr(crown, "AT_ONCE", 64)
    few = each_cell(LinearBounds(graph, pictures, moves, "inf"), graph.output)
    torch.testing.assert_close(few, full)
    monkeypatch.setattr(crown, "MOST_WORK", 1)
    loose = each_cell(LinearBounds(graph, pictures, moves, "inf"), graph.output)
    assert float((loose[1] - loose[0]).mean()) > float((full[1] - full[0]).mean())
    interval = boxes(graph, pictures, moves, "inf", [graph.output])[graph.output]
    assert float((loose[1] - loose[0]).mean()) < float(2 * interval.radius.mean())


def test_scores_without_an_axis_of_columns_are_bounded_as_those_with_one_are() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))
    rows = np.random.default_rng(0).normal(size=(40, 6)).astype("float32")

    class Score(nn.Module):
        def __init__(self, *, is_flat: bool) -> None:
            super().__init__()
            self.layers, self.is_flat = layers, is_flat

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            score = self.layers(x)
            return torch.sigmoid(5 * torch.tanh(score.squeeze(1) if self.is_flat else score))

    with_axis, without = (
        robmon.certify(
            Score(is_flat=is_flat), rows, radii=(0.05, 0.2), norm="inf", method="crown", output="probability"
        )
        for is_flat in (False, True)
    )
    assert 0 < with_axis.share[-1] < 1
    assert without.certified is not None
    assert np.array_equal(without.certified, with_axis.certified)


def test_a_network_of_three_layers_of_which_nothing_else_is_certified_is() -> None:
    from sklearn.datasets import load_digits

    pixels, targets = load_digits(return_X_y=True)
    inputs = (pixels / 16).astype(np.float32)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimiser = torch.optim.Adam(module.parameters(), 0.01)
    for step in range(60):
        rows = slice((200 * step) % 1600, (200 * step) % 1600 + 200)
        optimiser.zero_grad()
        outputs = module(torch.tensor(inputs[rows]))
        loss: Any = nn.functional.cross_entropy(outputs, torch.tensor(targets[rows]))
        loss.backward()
        optimiser.step()
    options: Any = {"norm": "inf", "radii": (0.01, 0.02, 0.3), "scale": 1.0, "output": "logit"}
    certify = partial(robmon.certify, module.eval(), inputs[:32], **options)
    shares = {method: certify(method=method).to_dict()["share"] for method in ("lipschitz", "interval", "crown")}
    assert shares["lipschitz"][0] == 0.0
    assert shares["interval"][1] < 0.3
    assert shares["crown"][1] > 0.8
    assert shares["crown"][2] == 0.0


# --- a second library -------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", ["dense", "average pool of relu"])
def test_bounds_are_those_of_auto_lirpa(kind: str, norm: Any, pictures: torch.Tensor) -> None:
    lirpa = pytest.importorskip(
        "auto_LiRPA",
        reason="auto_LiRPA is on no package registry and asks for torchvision and torch < 2.9: its source of "
        "github.com/Verified-Intelligence/auto_LiRPA on PYTHONPATH, with appdirs, does",
    )
    torch.manual_seed(0)
    one = nn.Sequential(conv(), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2), *end(16))
    module, radius = (network(kind) if kind == "dense" else one).double().eval(), 0.3
    graph = read(module, pictures)
    bounds = LinearBounds(graph, pictures, torch.full(pictures.shape[1:], radius, dtype=torch.float64), norm)
    bounded = lirpa.BoundedModule(module, pictures, device="cpu")
    ball = lirpa.PerturbationLpNorm(norm=math.inf if norm == "inf" else 2, eps=radius)
    low, high = bounded.compute_bounds(x=(lirpa.BoundedTensor(pictures, ball),), method="CROWN")
    mine = each_cell(bounds, graph.output)
    assert (mine[0] >= low - 1e-6).all(), "ours are the intersection with intervals"
    assert (mine[1] <= high + 1e-6).all()
    assert float((mine[0] - low).abs().max()) < 0.05 * float((high - low).min())
