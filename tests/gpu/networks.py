"""The networks that are measured, with random weights, and their inputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

CLASSES = 1000
RESIDUE = 0.2
"""Of a residual block in its sum: with 1 a random network of 16 blocks makes chaos of the smallest difference."""


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    """A convolution and its batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False), nn.BatchNorm2d(outputs, momentum=None)
    )


class Bottleneck(nn.Module):
    """A residual block of ResNet-50 (He et al. 2016), the stride in its 3 x 3 convolution."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            convolution(inputs, width, 1), nn.ReLU(), convolution(width, width, 3, stride), nn.ReLU(),
            convolution(width, 4 * width, 1),
        )  # fmt: skip
        nn.init.constant_(self.body[-1][1].weight, RESIDUE)
        is_same = inputs == 4 * width and stride == 1
        self.shortcut = nn.Identity() if is_same else convolution(inputs, 4 * width, 1, stride)

    def forward(self, x: Any) -> Any:
        return functional.relu(self.body(x) + self.shortcut(x))


def resnet_50() -> nn.Module:
    """A network of the shape of ResNet-50: 25.6 million weights."""
    layers: list[nn.Module] = [convolution(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 * 2**stage
        for block in range(blocks):
            layers.append(Bottleneck(channels, width, 2 if stage > 0 and block == 0 else 1))
            channels = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES))


class Block(nn.Module):
    """A transformer's block, normalised first."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.parts, self.joint = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Any) -> Any:
        parts = self.parts(self.before(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(*parts.unbind(0))
        x = x + self.joint(attended.transpose(1, 2).flatten(2))
        return x + self.feed(self.between(x))


class VisionTransformer(nn.Module):
    """A vision transformer of the size S (Dosovitskiy et al. 2021; Touvron et al. 2021): 22 million weights."""

    def __init__(self, side: int, patch: int = 16, width: int = 384, depth: int = 12, heads: int = 6) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.first = nn.Parameter(torch.zeros(1, 1, width))
        self.place = nn.Parameter(0.02 * torch.randn(1, (side // patch) ** 2 + 1, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)), nn.LayerNorm(width))
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Any) -> Any:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.first.expand(len(x), -1, -1), tokens], dim=1) + self.place
        return self.head(self.blocks(tokens)[:, 0])


def make(name: str, device: str, is_quick: bool) -> tuple[nn.Module, tuple[int, ...]]:
    """The network in eval mode on a device, and the shape of one of its inputs.

    Args:
        name: `resnet`, `vit` or `mlp`.
        device: such as `cuda:0`.
        is_quick: whether images are 32 x 32 instead of 224 x 224.
    """
    torch.manual_seed(0)
    side = 32 if is_quick else 224
    if name == "mlp":
        layers = (nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
        return nn.Sequential(*layers).to(device).eval(), (64,)
    shape = (3, side, side)
    network = (resnet_50() if name == "resnet" else VisionTransformer(side)).to(device)
    with torch.no_grad():
        network.train()(inputs(8, shape, device))  # batch normalisation learns what its inputs are
    return network.eval(), shape


def inputs(rows: int, shape: tuple[int, ...], device: str) -> Any:
    """So many inputs of a shape, always the same."""
    return torch.randn(rows, *shape, generator=torch.Generator().manual_seed(rows)).to(device)
