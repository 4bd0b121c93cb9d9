#!/usr/bin/env python3
"""The peers of `cargo xtask bench --peers`: OpenVINO, ONNX Runtime and PyTorch on our weights and image.

    python3 -m venv .venv && .venv/bin/pip install -r tests/peers/requirements-engines.txt
    cargo xtask bench --peers --python .venv/bin/python

xtask starts this script, once for each backbone; nobody needs to call it by hand. Each engine calculates the
backbone from the stem to its second tap and nothing behind it, in float32 or bfloat16. In: a folder with
weights.safetensors (the source framework's names) and example.safetensors (`image`, (1, 3, H, W), normalised;
`tap0` and `tap1`, our feature maps of it), all float32. Out: lines of JSON.

Every engine is built and run once. In float32 it must agree with our taps to 1e-3 of the tap's largest
magnitude. Then one line says which engines there are, and each further line answers one on standard input:

    > {"engines": [{"name": "openvino-f32", "label": "OpenVINO 2026.4.1, f32", "deviation": 1e-06}, ...]}
    < {"run": "openvino-f32"}
    > {"ms": 138.2}

A line {"error": "..."} ends the process. What libraries print goes to standard error.

Each engine is set up for the time of one image: graph and weights are prepared beforehand, the image lies
ready in the engine's own format, and the taps stay in the engine's memory or in memory allocated once. (PyTorch,
run eagerly, allocates as it goes.) Idle threads spin for a while after a run: ONNX Runtime's were seen to do so
for 36 ms, PyTorch's (OpenMP) for 10, OpenVINO's hardly for 1. Without that the first two would be slower, so they
may; xtask waits for 100 ms before it times somebody else.
"""

import os

# Intel's OpenMP, where a build of PyTorch has it, would spin for 200 ms after a run. Read when it is loaded.
os.environ["KMP_BLOCKTIME"] = "0"

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Libraries print to standard output; only answers may go there.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def answer(**message: object) -> None:
    print(json.dumps(message), file=ANSWERS, flush=True)


def fail(error: str) -> None:
    answer(error=error)
    sys.exit(1)


try:
    import numpy as np
    import onnxruntime
    import onnxscript  # noqa: F401 - torch exports with it
    import openvino
    import torch
    import torchvision
    from safetensors.torch import load_file
    from torch import nn
    from torch.nn import functional
except ImportError as error:
    fail(f"{error}: pip install -r tests/peers/requirements-engines.txt, or name another Python by --python")

F32_LIMIT = 1e-3  # of the tap's largest magnitude; rounding in another order gives 1e-6
BF16_LIMIT = 0.2  # 8 bits of mantissa through some thirty layers; this only tells a wrong network

# ---------------------------------------------------------------------------------------------- networks


class ResNetTaps(nn.Module):
    """torchvision's network up to layer3."""

    def __init__(self, name: str, weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        whole = torchvision.models.get_model(name, weights=None)
        load(whole, weights, unused=("layer4.", "fc."))
        self.stem = nn.Sequential(whole.conv1, whole.bn1, whole.relu, whole.maxpool, whole.layer1)
        self.layer2, self.layer3 = whole.layer2, whole.layer3

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        fine = self.layer2(self.stem(image))
        return fine, self.layer3(fine)


class SameConv2d(nn.Conv2d):
    """TensorFlow's "same" padding: ceil(n / stride) outputs; an odd zero goes to the right and the bottom."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        (k, _), (s, _), (h, w) = self.kernel_size, self.stride, x.shape[-2:]
        height, width = (max((-(-n // s) - 1) * s + k - n, 0) for n in (h, w))
        padding = (height // 2, width // 2)
        if height % 2 or width % 2:
            left, top = width // 2, height // 2
            x, padding = functional.pad(x, (left, width - left, top, height - top)), 0
        return functional.conv2d(x, self.weight, None, self.stride, padding, 1, self.groups)


def batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class LiteBlock(nn.Module):
    """Expand 1x1, depthwise, project 1x1; the sum where shapes allow it."""

    def __init__(self, channels: int, expansion: int, kernel: int, stride: int, out: int) -> None:
        super().__init__()
        hidden = channels * expansion
        self.expands, self.adds = expansion > 1, stride == 1 and channels == out
        if self.expands:
            self._expand_conv = nn.Conv2d(channels, hidden, 1, bias=False)
            self._bn0 = batch_norm(hidden)
        self._depthwise_conv = SameConv2d(hidden, hidden, kernel, stride, groups=hidden, bias=False)
        self._bn1 = batch_norm(hidden)
        self._project_conv = nn.Conv2d(hidden, out, 1, bias=False)
        self._bn2 = batch_norm(out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds else y


class EfficientNetLite0Taps(nn.Module):
    """EfficientNet-Lite0 up to its 112-channel stage; the names are those of the checkpoint."""

    ROWS = [(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112)]
    FIRST_TAP = 4

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, 32, 3, 2, bias=False)
        self._bn0 = batch_norm(32)
        blocks, channels = [], 32
        for repeats, kernel, stride, expansion, out in self.ROWS:
            for repeat in range(repeats):
                blocks.append(LiteBlock(channels, expansion, kernel, 1 if repeat else stride, out))
                channels = out
        self._blocks = nn.ModuleList(blocks)
        load(self, weights)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = functional.relu6(self._bn0(self._conv_stem(image)))
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index == self.FIRST_TAP:
                fine = x
        return fine, x


def load(module: nn.Module, weights: dict[str, torch.Tensor], unused: tuple[str, ...] = ()) -> None:
    """Every weight must have its place and every parameter outside `unused` its weight."""
    result = module.load_state_dict(weights, strict=False)
    missing = [
        key
        for key in result.missing_keys
        if not key.startswith(unused) and not key.endswith("num_batches_tracked")
    ]
    if missing or result.unexpected_keys:
        fail(f"the weights do not fit: missing {missing}, unexpected {result.unexpected_keys}")


NETWORKS: dict[str, Callable[[dict[str, torch.Tensor]], nn.Module]] = {
    "wide-resnet50-2": lambda weights: ResNetTaps("wide_resnet50_2", weights),
    "wide-resnet101-2": lambda weights: ResNetTaps("wide_resnet101_2", weights),
    "resnet101": lambda weights: ResNetTaps("resnet101", weights),
    "resnet50": lambda weights: ResNetTaps("resnet50", weights),
    "resnet18": lambda weights: ResNetTaps("resnet18", weights),
    "efficientnet-lite0": EfficientNetLite0Taps,
}

# ---------------------------------------------------------------------------------------------- engines


@dataclass
class Engine:
    name: str
    label: str
    run: Callable[[], object]  # one image, from stem to taps
    taps: Callable[[], list[np.ndarray]]  # of the last run
    limit: float  # of the deviation from our taps


def openvino_engine(onnx: Path, image: np.ndarray, threads: int, precision: str, limit: float) -> Engine:
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision,
    }
    request = openvino.Core().compile_model(onnx, "CPU", options).create_infer_request()
    request.set_input_tensor(openvino.Tensor(image, shared_memory=True))
    version = openvino.get_version().split("-")[0]
    return Engine(
        f"openvino-{precision}",
        f"OpenVINO {version}, {precision}",
        request.infer,
        lambda: [request.get_output_tensor(i).data for i in range(2)],
        limit,
    )


def onnxruntime_engine(onnx: Path, image: np.ndarray, threads: int, taps: list[np.ndarray]) -> Engine:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_ortvalue_input(session.get_inputs()[0].name, onnxruntime.OrtValue.ortvalue_from_numpy(image))
    outputs = [onnxruntime.OrtValue.ortvalue_from_numpy(np.empty_like(tap)) for tap in taps]
    for described, output in zip(session.get_outputs(), outputs, strict=True):
        binding.bind_ortvalue_output(described.name, output)
    return Engine(
        "onnxruntime-f32",
        f"ONNX Runtime {onnxruntime.__version__}, f32",
        lambda: session.run_with_iobinding(binding),
        lambda: [output.numpy() for output in outputs],
        F32_LIMIT,
    )


def torch_engine(network: nn.Module, image: np.ndarray) -> Engine:
    network = network.to(memory_format=torch.channels_last)
    channels_last = torch.from_numpy(image).contiguous(memory_format=torch.channels_last)
    last: list[torch.Tensor] = []

    def run() -> None:
        with torch.inference_mode():
            last[:] = network(channels_last)

    version = torch.__version__.split("+")[0]
    label = f"PyTorch {version} eager, channels last, f32"
    return Engine("torch-f32", label, run, lambda: [tap.numpy() for tap in last], F32_LIMIT)


def deviation(engine: Engine, taps: list[np.ndarray]) -> float:
    """Runs the engine; the largest difference from our taps over the largest magnitude of the tap."""
    engine.run()
    got = engine.taps()
    if [tap.shape for tap in got] != [tap.shape for tap in taps]:
        fail(f"{engine.label}: taps of {[tap.shape for tap in got]}, ours are {[tap.shape for tap in taps]}")
    worst = max(float(np.max(np.abs(a - b)) / np.max(np.abs(b))) for a, b in zip(got, taps))
    if not worst <= engine.limit:  # true for NaN
        fail(
            f"{engine.label}: its taps differ from ours by {worst:.1e} of their largest magnitude, "
            f"more than the {engine.limit:.0e} allowed"
        )
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", required=True, choices=NETWORKS)
    parser.add_argument("--folder", required=True, type=Path, help="weights.safetensors, example.safetensors")
    parser.add_argument("--threads", required=True, type=int)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    network = NETWORKS[arguments.backbone](load_file(arguments.folder / "weights.safetensors")).eval()
    example = load_file(arguments.folder / "example.safetensors")
    image, taps = example["image"].numpy(), [example[name].numpy() for name in ("tap0", "tap1")]
    onnx = arguments.folder / "taps.onnx"
    torch.onnx.export(network, (example["image"],), onnx, verbose=False)

    engines = [
        openvino_engine(onnx, image, arguments.threads, "f32", F32_LIMIT),
        openvino_engine(onnx, image, arguments.threads, "bf16", BF16_LIMIT),
        onnxruntime_engine(onnx, image, arguments.threads, taps),
        torch_engine(network, image),
    ]
    answer(
        engines=[
            {"name": engine.name, "label": engine.label, "deviation": deviation(engine, taps)}
            for engine in engines
        ]
    )
    by_name = {engine.name: engine for engine in engines}
    for line in sys.stdin:
        run = by_name[json.loads(line)["run"]].run
        start = time.perf_counter()
        run()
        answer(ms=(time.perf_counter() - start) * 1e3)


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        answer(error=f"{type(error).__name__}: {error}")
        raise
