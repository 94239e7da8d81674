"""Certificates between closed forms and attacks: never more than is true, on rows, balls and layers of many kinds."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

import robmon
from robmon.errors import InvalidInputError
from robmon.robustness.probes.certificate.interval import boxes
from robmon.robustness.probes.certificate.leaving import refuse_leaving
from robmon.robustness.probes.certificate.lipschitz import SLOPES, Constants
from robmon.robustness.probes.certificate.norms import convolution_norm
from robmon.robustness.probes.certificate.operators import VALLEYS
from robmon.robustness.probes.certificate.reading import read
from robmon.robustness.probes.certificate.result import Certificate

METHODS = ("lipschitz", "interval", "crown")
NORMS = ("2", "inf")
RADII = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
G = np.random.default_rng(0)
X = G.normal(size=(128, 12))
W = G.normal(size=12)
ALONE: dict[str, Any] = {"scale": 1.0, "output": "logit"}


def kept(result: Certificate) -> NDArray[np.bool_]:
    """The rows that are certified, of a certificate that there is."""
    assert result.certified is not None, result.reason
    return result.certified


# --- linear models ----------------------------------------------------------------------------------------------------


def linear(*, columns: int = 1, last: Callable[[], nn.Module] = nn.Identity) -> nn.Module:
    """`w.x + 0.3`, alone or as the difference of two columns."""
    sides = [1.0] if columns == 1 else [-0.5, 0.5]
    layer = nn.Linear(12, columns).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(np.outer(sides, W)))
        layer.bias.copy_(0.3 * torch.tensor(sides))
    return nn.Sequential(layer, last())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("columns", [1, 2])
def test_a_linear_model_is_certified_exactly_as_far_as_the_closed_form_says(
    method: Any, norm: Any, columns: int
) -> None:
    dual = float(np.linalg.norm(W) if norm == "2" else np.abs(W).sum())
    distance = np.abs(X @ W + 0.3) / dual
    radii = np.concatenate([RADII, [1.0]])
    result = robmon.certify(linear(columns=columns), X, norm=norm, radii=radii, method=method, **ALONE)
    np.testing.assert_array_equal(kept(result), distance[:, None] > radii)
    assert result.share is not None
    np.testing.assert_allclose(result.share, kept(result).mean(axis=0))
    if method == "lipschitz" and columns == 1:
        assert result.lipschitz == pytest.approx(dual, rel=1e-9)
        assert result.lipschitz >= dual, "rounded up"


@pytest.mark.parametrize("method", METHODS)
def test_softmax_and_sigmoid_at_the_end_change_no_class(method: Any) -> None:
    expected = kept(robmon.certify(linear(), X, radii=RADII, method=method, **ALONE))
    one = robmon.certify(linear(last=nn.Sigmoid), X, radii=RADII, method=method, scale=1.0, output="probability")
    soft: Any = lambda: nn.Softmax(dim=1)  # noqa: E731
    two = robmon.certify(linear(columns=2, last=soft), X, radii=RADII, method=method, scale=1.0)
    np.testing.assert_array_equal(kept(one), expected)
    np.testing.assert_array_equal(kept(two), expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("norm", NORMS)
def test_radii_count_standard_deviations_unless_a_scale_is_given(method: Any, norm: Any) -> None:
    stretched = X * np.geomspace(0.1, 10, 12)
    scaled = W * stretched.std(axis=0)
    distance = np.abs(stretched @ W + 0.3) / (np.linalg.norm(scaled) if norm == "2" else np.abs(scaled).sum())
    result = robmon.certify(linear(), stretched, norm=norm, radii=RADII, method=method, output="logit")
    np.testing.assert_array_equal(kept(result), distance[:, None] > np.array(RADII))


@pytest.mark.parametrize("method", METHODS)
def test_each_of_several_labels_must_keep_its_side(method: Any) -> None:
    heads = nn.Sequential(nn.Linear(12, 3).double(), nn.Sigmoid())
    result = robmon.certify(heads, X, radii=RADII, scale=1.0, output="multilabel", method=method)
    weight, bias = (each.detach().numpy() for each in heads[0].parameters())
    distance = (np.abs(X @ weight.T + bias) / np.linalg.norm(weight, axis=1)).min(axis=1)
    np.testing.assert_array_equal(kept(result), distance[:, None] > np.array(RADII))


# --- layers: no Jacobian is larger than the constant ------------------------------------------------------------------


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(x)


class Normalising(nn.Module):
    """Does what clients do to pictures otherwise."""

    def __init__(self, inner: nn.Module, mean: float = 0.4, std: float = 0.25) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("mean", torch.tensor([mean]).reshape(1, 1, 1))
        self.std = std

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner((x - self.mean) / self.std)


class Functional(nn.Module):
    """Layers as functions, in place, with shapes that are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding="same")
        self.end = nn.Linear(4 * 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.conv(x), inplace=True)
        x = functional.adaptive_avg_pool2d(functional.max_pool2d(x, 2), 2)
        return self.end(functional.dropout(x.view(x.size(0), -1), 0.5, training=self.training))


def moving_norm() -> nn.Module:
    norm = nn.BatchNorm2d(2)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, -2.0]))
        norm.running_var.copy_(torch.tensor([0.3, 4.0]))  # type: ignore[union-attr]
        norm.running_mean.copy_(torch.tensor([0.3, -1.0]))  # type: ignore[union-attr]
    return norm


PICTURES = {
    "conv": lambda: nn.Conv2d(2, 3, 3),
    "padded": lambda: nn.Conv2d(2, 3, 3, padding=1),
    "circular": lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"),
    "reflect": lambda: nn.Conv2d(2, 3, 3, padding=2, padding_mode="reflect"),
    "replicate": lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="replicate"),
    "strided": lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1),
    "strided by 3": lambda: nn.Conv2d(2, 3, 4, stride=3, padding=2),
    "circular and strided": lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1, padding_mode="circular"),
    "dilated": lambda: nn.Conv2d(2, 3, 3, dilation=2, padding=2),
    "wide": lambda: nn.Conv2d(2, 3, 7, padding=3),
    "grouped": lambda: nn.Conv2d(2, 4, 3, padding=1, groups=2),
    "same, even": lambda: nn.Conv2d(2, 3, 4, padding="same"),
    "batch norm": moving_norm,
    "conv, norm": lambda: nn.Sequential(nn.Conv2d(2, 2, 3), moving_norm(), nn.LeakyReLU(2.0)),
    "max pool": lambda: nn.MaxPool2d(2),
    "overlapping max pool": lambda: nn.MaxPool2d(3, stride=1, padding=1),
    "adaptive max pool": lambda: nn.AdaptiveMaxPool2d(3),
    "average pool": lambda: nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False),
    "adaptive average pool": lambda: nn.AdaptiveAvgPool2d(4),
    "residual": lambda: Residual(nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.Tanh())),
    "normalising": lambda: Normalising(nn.Conv2d(2, 2, 3)),
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": lambda: nn.ELU(1.7),
    "functions": Functional,
}


def jacobians(module: nn.Module, points: torch.Tensor) -> torch.Tensor:
    """Of a module in float64, one matrix a point."""
    found = [torch.autograd.functional.jacobian(lambda x: module(x[None])[0], point) for point in points]
    return torch.stack([each.reshape(-1, points[0].numel()) for each in found])


def of(matrices: torch.Tensor, norm: str) -> float:
    largest = torch.linalg.svdvals(matrices) if norm == "2" else matrices.abs().sum(dim=-1)
    return float(largest.max())


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.float64]:
    return np.random.default_rng(1).normal(size=(12, 2, 6, 6))


def constants(module: nn.Module, inputs: NDArray[Any]) -> dict[Any, float]:
    graph = read(module, torch.tensor(inputs))
    scale = torch.ones(inputs[0].size, dtype=torch.float64)
    return {norm: Constants(graph, scale, norm).of[graph.output] for norm in NORMS}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("kind", PICTURES)
def test_no_jacobian_is_larger_than_the_constant(kind: str, pictures: NDArray[np.float64]) -> None:
    torch.manual_seed(0)
    module = PICTURES[kind]().double().eval()
    points = torch.cat([torch.tensor(pictures), 0.1 * torch.tensor(pictures)])
    if kind == "overlapping max pool":
        points[0, 0, 3, 3] = 5.0  # a peak that is in nine windows
    matrices, bounds = jacobians(module, points), constants(module, pictures)
    for norm in NORMS:
        seen = of(matrices, norm)
        assert seen <= bounds[norm]
        if torch.equal(matrices[0], matrices[1]):  # linear
            assert bounds[norm] == pytest.approx(seen, rel=1e-9)
    if kind == "overlapping max pool":
        assert bounds == pytest.approx({"2": 3.0, "inf": 1.0}), "not 1-Lipschitz in l2"


def test_a_residual_connection_adds_and_does_not_multiply() -> None:
    inner = nn.Linear(12, 12).double()
    weight = inner.weight.detach()
    size = float(torch.linalg.matrix_norm(weight, 2))
    bent = nn.Sequential(Residual(nn.Sequential(inner, nn.ReLU())), nn.ReLU())
    assert constants(bent, X)["2"] == pytest.approx(1 + size, rel=1e-9)
    straight = float(torch.linalg.matrix_norm(weight + torch.eye(12), 2))
    assert constants(Residual(inner), X)["2"] == pytest.approx(straight, rel=1e-9), "one linear map, exactly"


def dense(layer: nn.Module, shape: tuple[int, ...]) -> torch.Tensor:
    zero = torch.zeros(1, *shape, dtype=torch.float64)
    basis = torch.eye(zero.numel(), dtype=torch.float64).reshape(-1, *shape)
    return (layer(basis) - layer(zero)).flatten(1).T


@pytest.mark.parametrize("size", [5, 8, 9])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 3, 4, 7])
def test_a_norm_of_a_convolution_is_never_below_that_of_its_matrix(size: int, stride: int, kernel: int) -> None:
    torch.manual_seed(size + stride)
    for padding in sorted({0, 1, kernel // 2}):
        for dilation, groups in ((1, 1), (2, 1), (1, 2)):
            if dilation * (kernel - 1) + 1 > size + 2 * padding:
                continue
            layer = nn.Conv2d(2, 4, kernel, stride, padding, dilation, groups).double()
            matrix = dense(layer, (2, size, size)).detach()
            bound = convolution_norm(
                layer.weight.detach(), (size, size), stride=(stride,) * 2, padding=(padding,) * 2,
                dilation=(dilation,) * 2, groups=groups, norm="2",
            )  # fmt: skip
            assert of(matrix, "2") <= bound * (1 + 1e-12)
            if (kernel, padding, dilation) == (3, 1, 1) and size > 5:
                assert bound < 1.3 * of(matrix, "2"), "and not far above it"


@pytest.mark.parametrize(("size", "stride"), [(8, 1), (8, 2), (9, 3)])
def test_a_norm_of_a_circular_convolution_is_exact(size: int, stride: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 5, 3, stride, padding=1, padding_mode="circular").double()
    options: Any = {"stride": (stride,) * 2, "padding": (0, 0), "dilation": (1, 1), "groups": 1, "is_circular": True}
    found = convolution_norm(layer.weight.detach(), (size, size), norm="2", **options)
    assert found == pytest.approx(of(dense(layer, (3, size, size)).detach(), "2"), rel=1e-12)


@pytest.mark.parametrize("name", SLOPES)
def test_no_function_is_steeper_than_it_is_taken_for(name: str) -> None:
    function = getattr(torch.ops.aten, name.removesuffix(" of tanh"))
    if name.endswith(" of tanh"):
        function = partial(function, approximate="tanh")
    further = {"hardtanh": (-1.0, 1.0), "clamp": (-1.0, 1.0), "clamp_min": (0.0,), "clamp_max": (0.0,)}.get(name, ())
    places = torch.linspace(-12, 12, 400_001, dtype=torch.float64)
    values = function(places, *further)
    steepest = float((values.diff() / places.diff()).abs().max())
    assert 0.999 * SLOPES[name] <= steepest <= SLOPES[name] * (1 + 1e-7)
    if name in VALLEYS:
        lowest = function(torch.tensor(VALLEYS[name], dtype=torch.float64))
        assert float(lowest) <= float(values.min()) + 1e-15
        is_left = places[1:] <= VALLEYS[name]
        assert (values.diff()[is_left] <= 1e-15).all()
        assert (values.diff()[places[:-1] >= VALLEYS[name]] >= -1e-15).all()


# --- the sandwich -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    from sklearn.datasets import load_digits

    pixels, targets = load_digits(return_X_y=True)
    return (pixels / 16).astype(np.float32).reshape(-1, 1, 8, 8), targets


def trained(module: nn.Module, digits: tuple[NDArray[np.float32], NDArray[np.int64]], steps: int = 60) -> nn.Module:
    inputs, targets = torch.tensor(digits[0]), torch.tensor(digits[1])
    optimiser = torch.optim.Adam(module.parameters(), 0.01)
    for step in range(steps):
        rows = slice((200 * step) % 1600, (200 * step) % 1600 + 200)
        optimiser.zero_grad()
        functional.cross_entropy(module(inputs[rows]), targets[rows]).backward()
        optimiser.step()
    return module.eval()


class Small(nn.Module):
    """Convolutions with a branch, normalisation in between, an overlapping pool."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 6, 3, padding=1, groups=2)
        self.end = nn.Linear(6 * 4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.norm(self.first(x)))
        x = x + torch.tanh(self.second(x))
        return self.end(functional.max_pool2d(x, 3, stride=2, padding=1).flatten(1))


@pytest.fixture(scope="module", params=["mlp", "cnn"])
def network(request: pytest.FixtureRequest, digits: Any) -> nn.Module:
    torch.manual_seed(0)
    mlp = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 10))
    return trained(mlp if request.param == "mlp" else Small(), digits)


@pytest.mark.parametrize("scale", [1.0, None], ids=["absolute", "relative"])
@pytest.mark.parametrize("norm", NORMS)
def test_what_is_certified_no_attack_flips(network: nn.Module, digits: Any, norm: Any, scale: Any) -> None:
    inputs, radii = digits[0][:64], (*RADII, 1.0)
    options: Any = {"norm": norm, "radii": radii, "scale": scale, "output": "logit"}
    attacked = robmon.attack(network, inputs, attacks=("pgd", "random"), steps=10, restarts=1, queries=20, **options)
    for method in METHODS:
        result = robmon.certify(network, inputs, method=method, **options)
        assert not (kept(result) & attacked.flipped).any(), "row by row"
        assert result.share is not None
        assert (result.share <= attacked.agreement).all()
        assert result.share[0] > 0.5
        assert result.share[-1] < attacked.agreement[0]
        assert (np.diff(result.share) <= 0).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("norm", NORMS)
def test_no_random_point_of_a_certified_ball_has_another_class(
    network: nn.Module, digits: Any, norm: Any, method: Any
) -> None:
    inputs, radii = digits[0][:50], np.geomspace(1e-3, 1, 13)
    certified = kept(robmon.certify(network, inputs, norm=norm, method=method, radii=radii, **ALONE))
    rows = np.flatnonzero(certified.any(axis=1))
    largest = radii[certified[rows].sum(axis=1) - 1]
    assert len(rows) > 40
    generator, seen = np.random.default_rng(2), 0
    with torch.no_grad():
        classes = network(torch.tensor(inputs[rows])).argmax(dim=1)
        while seen < 100_000:
            moves = generator.normal(size=(len(rows) * 400, 64))
            sizes = np.linalg.norm(moves, axis=1) if norm == "2" else np.abs(moves).max(axis=1)
            moves = np.sign(moves) if norm == "inf" and seen % 3 == 0 else moves / sizes[:, None]
            points = inputs[rows].repeat(400, axis=0) + (largest.repeat(400)[:, None] * moves).reshape(-1, 1, 8, 8)
            said = network(torch.tensor(points, dtype=torch.float32)).argmax(dim=1)
            assert (said == classes.repeat_interleave(400)).all()
            seen += len(points)


def test_a_model_that_normalises_and_a_client_that_does_agree(network: nn.Module, digits: Any) -> None:
    inputs = digits[0][:64].astype(np.float64)
    inside = Normalising(copy.deepcopy(network).double(), 0.3, 0.25)
    for norm in NORMS:
        for method in METHODS:
            options: Any = {"norm": norm, "method": method, "output": "logit"}
            by_module = robmon.certify(inside, inputs, radii=(0.01, 0.03), scale=1.0, **options)
            by_client = robmon.certify(inside.inner, (inputs - 0.3) / 0.25, radii=(0.04, 0.12), scale=1.0, **options)
            np.testing.assert_array_equal(kept(by_module), kept(by_client))
            if by_module.lipschitz is not None and by_client.lipschitz is not None:
                assert by_module.lipschitz == pytest.approx(4 * by_client.lipschitz, rel=1e-6)


def test_exported_and_scripted_modules_are_read_like_eager_ones(network: nn.Module, digits: Any) -> None:
    inputs = digits[0][:64]
    eager = robmon.certify(network, inputs, radii=RADII, **ALONE)
    rows, first = torch.export.Dim("rows"), torch.tensor(inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = [torch.jit.script(network), torch.jit.trace(network, first)]
    exported = torch.export.export(network, (first,), dynamic_shapes=({0: rows},))
    for module in (exported.module(), *scripted):
        result = robmon.certify(module, inputs, radii=RADII, **ALONE)
        np.testing.assert_array_equal(kept(result), kept(eager))
        assert result.lipschitz == pytest.approx(eager.lipschitz, rel=1e-6)


# --- what is refused --------------------------------------------------------------------------------------------------


class Doing(nn.Module):
    """A linear layer behind something else."""

    def __init__(self, what: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.what, self.end = what, nn.Linear(12, 3).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.end(self.what(x))
        return result


def _far(x: torch.Tensor) -> torch.Tensor:
    return torch.where((x.abs() > 9).any(1, keepdim=True), -x, x)


def _scripted() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(nn.Sequential(nn.Linear(12, 12).double(), nn.ReLU()))


_scripted_relu: Any = _scripted()


def _behind_script(x: torch.Tensor) -> torch.Tensor:
    inner = _scripted_relu(x)
    return inner * float(inner.detach().numpy().max())


def _caught(x: torch.Tensor) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return x * x.max().item()
        except Exception:
            return x


REFUSED = {
    "layer_norm": (lambda x: functional.layer_norm(x, (12,)), "layer_norm"),
    "softmax inside": (lambda x: x.softmax(dim=1), "softmax"),
    "product": (lambda x: x * x, "mul of values that depend on the input"),
    "quotient": (lambda x: 1.0 / (x.abs() + 1), "reciprocal"),
    "rounding": (lambda x: torch.round(x), "round"),
    "rows mixed": (lambda x: x - x.mean(dim=0), "mixes rows"),
    "rows sorted": (lambda x: x.flip(0), "flip"),
    "branches": (lambda x: x if bool(x.sum() > 0) else -x, "branches on its data"),
    "leaves torch": (lambda x: x * float(x.abs().max()), "outside torch"),
    "numpy factor": (lambda x: x * float(x.detach().numpy().max()), "outside torch"),
    "numpy branch": (lambda x: x / 255 if x.detach().numpy().max() > 1 else x, "outside torch"),
    "leaves behind scripted code": (_behind_script, "outside torch"),
    "caught": (lambda x: _caught(x), "outside torch"),
    "read otherwise": (lambda x: x if torch.jit.is_tracing() else _far(x), "nothing is known of the operation"),
    "bound that spreads": (lambda x: torch.clamp(x[:, :1], min=torch.full((1, 12), -9.0)), "clamp"),
    "bound that spreads, alone": (lambda x: torch.clamp_min(x[:, :1], torch.full((12,), -9.0)), "clamp_min"),
    "type of another": (lambda x: x.type_as(torch.ones(1, dtype=torch.int64)).double(), "rounds to int64"),
    "as another": (lambda x: x.to(torch.ones(1, dtype=torch.int32)).double(), "casts to another type"),
    "softplus that jumps": (lambda x: functional.softplus(x, 1.0, 0.5), "softplus that jumps"),
    "softplus, threshold far in beta": (lambda x: functional.softplus(x, 1e-9, 20), "softplus that jumps"),
    "random": (lambda x: x + torch.randn_like(x), "rand"),
    "half": (lambda x: x.half().double(), "rounding"),
    "dropout": (lambda x: functional.dropout(x, 0.5, training=True), "random"),
    "batch statistics": (lambda x: functional.batch_norm(x, None, None, training=True), "batch_norm"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_known_has_no_certificate_but_a_reason(kind: str, method: Any) -> None:
    what, named = REFUSED[kind]
    result = robmon.certify(Doing(what), X, radii=RADII, method=method, **ALONE)
    assert result.certified is None, "nothing is said"
    assert (result.share, result.lipschitz) == (None, None)
    assert named in result.reason
    assert result.reason in str(result)
    assert result.to_dict()["share"] is None


class Lifting(nn.Module):
    """One cell against a hundred bounds."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.full((1, 100), -9.0))
        self.end = nn.Linear(100, 1)
        nn.init.constant_(self.end.weight, 0.1)
        nn.init.constant_(self.end.bias, -0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.end(torch.clamp(x, min=self.low))


@pytest.mark.parametrize("method", METHODS)
def test_a_cell_that_a_bound_spreads_over_many_has_no_certificate(method: Any) -> None:
    rows = np.array([[0.2], [1.0]], dtype=np.float32)
    assert "clamp mixes rows, or may" in robmon.certify(Lifting(), rows, radii=(0.2,), method=method, **ALONE).reason


class Elsewhere(nn.Module):
    """Answers in Python whether its input is large, and hides it from what reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.end = nn.Linear(12, 3).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.end(-x if max(map(abs, memoryview_of(x))) > 3.9 else x)


def memoryview_of(x: torch.Tensor) -> list[float]:
    """Numbers of a tensor by its address, which is asked of none of its methods."""
    with torch._C.DisableTorchFunction():
        return [float(each) for each in x.detach().flatten()]


def test_around_the_rows_a_module_must_compute_what_was_read() -> None:
    rows = np.clip(X, -2, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = robmon.certify(Elsewhere(), rows, radii=(3.0,), norm="inf", **ALONE)
    assert result.certified is None
    assert result.reason


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_the_valley_of_each_gelu_is_where_it_is_lowest(approximate: str) -> None:
    places = torch.tensor([[-0.75246142], [-0.75179152], [0.0]], dtype=torch.float64)
    graph = read(nn.GELU(approximate), places)
    found = boxes(graph, places, torch.full((1,), 0.01, dtype=torch.float64), "inf", [graph.output])[graph.output]
    inside = torch.linspace(-0.7625, -0.7425, 20_001, dtype=torch.float64)
    lowest = float(functional.gelu(inside, approximate=approximate).min())
    assert (found.low[:2] <= lowest).all()
    assert (found.low[:2] >= lowest - 1e-11).all()


class Standing(nn.Module):
    """Takes numbers of what does not depend on the input out of torch, which is no harm, around scripted code."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.end = _scripted_relu, nn.Linear(12, 3).double()
        self.register_buffer("size", torch.tensor(2.0))
        self.other = torch.tensor([0.5])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        factor = self.size.item() * float(self.other) / torch.full((1,), 2.0).item()
        result: torch.Tensor = self.end(self.inner(x) * factor)
        return result


def test_numbers_of_constants_may_leave_torch_and_scripted_parts_are_read() -> None:
    refuse_leaving(Standing(), torch.tensor(X[:2]))
    kept(robmon.certify(nn.Sequential(_scripted_relu, nn.Linear(12, 3).double()), X, radii=RADII, **ALONE))


def test_softplus_with_a_beta_of_its_own_has_a_certificate() -> None:
    assert 0 < constants(nn.Softplus(3.0), X)["2"] <= 1 + 1e-9


def test_a_recurrent_layer_is_not_known_and_random_where_it_drops() -> None:
    layer = nn.GRU(12, 4, batch_first=True).double()
    model = Doing(lambda x: nn.functional.pad(layer(x[:, None])[0][:, 0], (0, 8)))
    result = robmon.certify(model, X, radii=RADII, **ALONE)
    assert result.reason == "nothing is known of the operation gru"


class Pictures(nn.Module):
    """Normalises by NumPy's constants, as demos do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.end = nn.Conv2d(3, 4, 3), nn.Linear(64, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = (x - torch.tensor(np.full((3, 1, 1), 0.4, "f4"))) / torch.tensor(np.full((3, 1, 1), 0.2, "f4"))
        return self.end(torch.relu(self.conv(x)).flatten(1))


@pytest.mark.parametrize("method", METHODS)
def test_pictures_whose_channels_were_last_are_certified_like_others(method: Any) -> None:
    torch.manual_seed(0)
    last = np.random.default_rng(0).random((6, 6, 6, 3)).astype(np.float32)
    first, module = last.transpose(0, 3, 1, 2), Pictures().eval()
    options: Any = {"radii": (0.001, 0.01), "norm": "inf", "method": method, **ALONE}
    found, expected = (robmon.certify(module, each, **options) for each in (first, np.ascontiguousarray(first)))
    np.testing.assert_array_equal(kept(found), kept(expected))


def test_an_exported_program_is_refused_with_what_to_give() -> None:
    program = torch.export.export(linear(), (torch.tensor(X),))
    with pytest.raises(InvalidInputError, match=r"give what its \.module\(\) returns"):
        robmon.certify(program, X, radii=RADII, **ALONE)


@pytest.mark.parametrize("method", METHODS)
def test_what_no_ball_can_flip_is_certified_and_what_is_not_finite_is_not(method: Any) -> None:
    module = nn.Sequential(nn.Linear(12, 8).double(), nn.ReLU(), nn.Linear(8, 1).double())
    with torch.no_grad():
        module[2].weight.abs_()  # type: ignore[operator]
        module[2].bias.fill_(1.0)  # type: ignore[operator]
    if method == "crown":
        assert kept(robmon.certify(module, X, radii=(1.0, 1e6), method=method, **ALONE)).all(), "never below 1"
    with np.errstate(over="ignore"):
        endless = robmon.certify(linear(), X, radii=(1e308,), method=method, norm="inf", **ALONE)
    assert endless.certified is None or not endless.certified.any()


def test_a_transformer_has_no_certificate() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    model = nn.Sequential(nn.Unflatten(1, (3, 4)), layer, nn.Flatten(), nn.Linear(12, 3)).double().eval()
    result = robmon.certify(model, X, radii=RADII, **ALONE)
    assert result.certified is None
    assert result.reason.startswith("nothing is known of the operation ")


def test_a_module_that_decides_nothing_is_told() -> None:
    far = nn.Linear(2, 1)
    nn.init.constant_(far.bias, 100.0)
    result = robmon.certify(far, np.random.default_rng(0).normal(size=(20, 2)), radii=(0.1,), output="logit")
    assert result.share is not None and result.share[0] == 1
    assert any("all 20 rows get the same class" in note for note in result.notes)


def test_what_is_no_module_has_no_certificate() -> None:
    result = robmon.certify(lambda x: x @ W[:, None], X, radii=RADII, **ALONE)
    assert result.reason == "the model is no torch module, and what it computes cannot be read"


def test_bad_options_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="norm '1' is not known"):
        robmon.certify(linear(), X, radii=RADII, norm="1", **ALONE)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="method 'magic' is not known"):
        robmon.certify(linear(), X, radii=RADII, method="magic", **ALONE)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="radii must be finite numbers above 0"):
        robmon.certify(linear(), X, radii=(0.0,), **ALONE)
