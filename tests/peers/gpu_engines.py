#!/usr/bin/env python3
"""Times the official SimpleNet network in PyTorch on a GPU, from photographs' bytes to maps and scores.

In: WideResNet-50-2's weights (safetensors, torchvision's names); the head's are random: arithmetic takes as long with any. Out: a table
and, with --json, every row. One run is what `simplenet bench --batch` times as the network: a batch (B, 288, 288, 3) of bytes in the
host's memory -> normalisation -> backbone to layer3 -> patch features as the official code makes them (3x3 unfolding, resize, adaptive
pools to 1536, stack, pool) -> adaptor -> discriminator -> image scores, and maps by bilinear resize and Gaussian (deviation 4, cut at 4
deviations) -> both in the host's memory again. Memory on the host is page-locked, cuDNN chooses its algorithms by measuring, TF32 is off
but in the rows that say so; f32 is planar as in the official code, f16 channels last. Medians of many runs behind some that do not count; each ends with a
synchronisation. torch.compile comes last, as far as --limit allows; what fails is listed with its reason.
`deviation` is the largest difference of a map from that of eager f32, over the spread of these.

    python make_weights.py wide_resnet50_2.json wide_resnet50_2.safetensors       # see xtask/cuda/gpu-check
    python tests/peers/gpu_engines.py --weights wide_resnet50_2.safetensors --json torch.json
    python tests/peers/gpu_engines.py --device cpu --side 64 --batch 1,2 --repeats 2   # does it run: random weights of its own

Needs torch and nothing else.
"""

import argparse
import json
import platform
import statistics
import struct
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WIDTH, HIDDEN = 1536, 1024
SIGMA, TRUNCATE = 4.0, 4.0
WARM_UP_RUNS, WARM_UP_SECONDS = 3, 1.0
DTYPES = {"F32": torch.float32, "F16": torch.float16}

# ---------------------------------------------------------------------------------------------- the network


class Bottleneck(nn.Module):
    """torchvision's, of a wide network: the inner convolutions are twice as wide. Names are torchvision's."""

    def __init__(self, channels: int, inner: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = nn.Conv2d(inner, inner, 3, stride, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = nn.Conv2d(inner, out, 1, bias=False), nn.BatchNorm2d(out)
        self.downsample = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


def layer(channels: int, inner: int, blocks: int, stride: int) -> nn.Sequential:
    out = 2 * inner
    rest = [Bottleneck(out, inner, out, 1) for _ in range(blocks - 1)]
    return nn.Sequential(Bottleneck(channels, inner, out, stride), *rest)


class WideResNet50To3(nn.Module):
    """WideResNet-50-2 from the stem to layer3: (B, 3, H, W) -> (B, 512, H/8, W/8), (B, 1024, H/16, W/16)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.layer1 = layer(64, 128, 3, 1)
        self.layer2 = layer(256, 256, 4, 2)
        self.layer3 = layer(512, 512, 6, 2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        fine = self.layer2(self.layer1(x))
        return fine, self.layer3(fine)


class SimpleNet(nn.Module):
    """Bytes (B, H, W, 3) -> image scores (B) and anomaly maps (B, H, W), both f32."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        self.backbone = WideResNet50To3()
        self.adaptor = nn.Linear(WIDTH, WIDTH)
        self.hidden, self.norm = nn.Linear(WIDTH, HIDDEN), nn.BatchNorm1d(HIDDEN)
        self.score = nn.Linear(HIDDEN, 1, bias=False)
        self.register_buffer("mean", 255 * torch.tensor(MEAN).reshape(1, 3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(STD).reshape(1, 3, 1, 1))
        radius = int(TRUNCATE * SIGMA + 0.5)
        kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / SIGMA) ** 2)
        self.register_buffer("kernel", (kernel / kernel.sum()).float().reshape(1, 1, 1, -1))
        # SciPy's border: the image mirrored with its edge, again and again.
        place = torch.arange(-radius, side + radius) % (2 * side)
        self.register_buffer("places", torch.where(place < side, place, 2 * side - 1 - place))

    @staticmethod
    def patches(features: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int]]:
        """(B, C, h, w) -> (B, h w, C, 3, 3) and the grid."""
        b, c, h, w = features.shape
        unfolded = functional.unfold(features, 3, padding=1)
        return unfolded.reshape(b, c, 3, 3, h * w).permute(0, 4, 1, 2, 3), (h, w)

    def features(self, x: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int]]:
        """(B, 3, H, W) -> (B h w, 1536), as the official code makes them."""
        (first, grid), (second, coarse) = map(self.patches, self.backbone(x))
        b, _, c, _, _ = second.shape
        planes = second.reshape(b, *coarse, c, 3, 3).permute(0, 3, 4, 5, 1, 2).reshape(-1, 1, *coarse)
        planes = functional.interpolate(planes, size=grid, mode="bilinear", align_corners=False)
        second = planes.reshape(b, c, 3, 3, -1).permute(0, 4, 1, 2, 3)
        pooled = [
            functional.adaptive_avg_pool1d(level.reshape(-1, 1, level.shape[2] * 9), WIDTH).squeeze(1)
            for level in (first, second)
        ]
        stacked = torch.stack(pooled, dim=1).reshape(len(pooled[0]), 1, -1)
        return functional.adaptive_avg_pool1d(stacked, WIDTH).squeeze(1), grid

    def smooth(self, maps: torch.Tensor) -> torch.Tensor:
        """The Gaussian along rows, then along columns."""
        maps = functional.conv2d(maps[..., self.places], self.kernel)
        return functional.conv2d(maps[..., self.places, :], self.kernel.transpose(2, 3))

    def forward(self, photographs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        weight = self.backbone.conv1.weight
        # A view: bytes as (B, H, W, 3) are a channels-last (B, 3, H, W).
        x = ((photographs.permute(0, 3, 1, 2).float() - self.mean) / self.std).to(weight.dtype)
        if weight.dtype == torch.float32:
            x = x.contiguous()
        features, grid = self.features(x)
        hidden = functional.leaky_relu(self.norm(self.hidden(self.adaptor(features))), 0.2)
        scores = -self.score(hidden).float().reshape(len(x), 1, *grid)
        maps = functional.interpolate(scores, size=(self.side, self.side), mode="bilinear", align_corners=False)
        return scores.amax((1, 2, 3)), self.smooth(maps).squeeze(1)


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    data = bytearray(path.read_bytes())
    (header_len,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + header_len])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = (8 + header_len + offset for offset in entry["data_offsets"])
        dtype = DTYPES[entry["dtype"]]
        tensors[name] = torch.frombuffer(data[start:end], dtype=dtype).reshape(entry["shape"]).float()
    return tensors


def build(side: int, weights: Path | None) -> SimpleNet:
    torch.manual_seed(0)
    network = SimpleNet(side)
    if weights is not None:
        result = network.backbone.load_state_dict(read_safetensors(weights), strict=False)
        missing = [key for key in result.missing_keys if not key.endswith("num_batches_tracked")]
        unexpected = [key for key in result.unexpected_keys if not key.startswith(("layer4.", "fc."))]
        if missing or unexpected:
            sys.exit(f"{weights}: missing {missing[:3]}, unexpected {unexpected[:3]}")
    return network.eval()


# ---------------------------------------------------------------------------------------------- timing


class Bench:
    """Runs on one device, from host memory to host memory."""

    def __init__(self, device: torch.device, side: int, repeats: int, seconds: float) -> None:
        self.device, self.side, self.repeats, self.seconds = device, side, repeats, seconds
        self.on_gpu = device.type == "cuda"

    def host(self, *shape: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(*shape, dtype=dtype, pin_memory=self.on_gpu)

    def synchronize(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    @torch.inference_mode()
    def measure(self, network, batch: int) -> tuple[list[float], torch.Tensor]:
        """Milliseconds of every run that counts, and the maps."""
        generator = torch.Generator().manual_seed(1)
        photographs = self.host(batch, self.side, self.side, 3, dtype=torch.uint8)
        photographs.copy_(torch.randint(0, 256, photographs.shape, generator=generator, dtype=torch.uint8))
        scores = self.host(batch, dtype=torch.float32)
        maps = self.host(batch, self.side, self.side, dtype=torch.float32)

        def run() -> float:
            self.synchronize()
            start = time.perf_counter()
            got_scores, got_maps = network(photographs.to(self.device, non_blocking=True))
            scores.copy_(got_scores, non_blocking=True)
            maps.copy_(got_maps, non_blocking=True)
            self.synchronize()
            return (time.perf_counter() - start) * 1e3

        start, done = time.perf_counter(), 0
        while done < WARM_UP_RUNS or time.perf_counter() - start < WARM_UP_SECONDS:
            run()
            done += 1
        times, start = [], time.perf_counter()
        while len(times) < self.repeats and (len(times) < 3 or time.perf_counter() - start < self.seconds):
            times.append(run())
        if not bool(torch.isfinite(maps).all()):
            raise ArithmeticError("the maps hold numbers that are not finite")
        return times, maps.clone()


def numbers(value: str) -> list[int]:
    return [int(part) for part in value.split(",")]


def reason(error: Exception) -> str:
    """The first line that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="safetensors; without, random ones that are good for trying the script only")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=numbers, default=[1, 16, 64])
    parser.add_argument("--side", type=int, default=288, help="of the square photographs; a multiple of 16")
    parser.add_argument("--repeats", type=int, default=100, help="runs that count, at most")
    parser.add_argument("--seconds", type=float, default=4.0, help="after so many no further run of a row begins")
    parser.add_argument("--limit", type=float, default=240.0, help="after so many seconds in all, torch.compile is left out")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("PyTorch sees no GPU here; --device cpu runs the script on the CPU")
    device = torch.device(args.device)
    begin = time.perf_counter()
    torch.backends.cudnn.benchmark = True
    bench = Bench(device, args.side, args.repeats, args.seconds)
    name = torch.cuda.get_device_name(device) if bench.on_gpu else platform.processor() or "CPU"
    report = {"torch": torch.__version__, "device": name, "side": args.side, "rows": [], "skipped": []}
    print(f"PyTorch {torch.__version__} on {name}, {args.side}x{args.side}, host memory to host memory")
    print(f"{'':24} {'batch':>5} {'median ms':>10} {'fastest':>9} {'images/s':>9} {'runs':>5} {'deviation':>9}", flush=True)

    exact: dict[int, torch.Tensor] = {}
    # (name, number type, TF32 allowed, compiled)
    variants = [("eager", "f32", False, False), ("eager", "f16", False, False), ("eager, TF32", "f32", True, False)]
    if not args.no_compile:
        variants += [("torch.compile", "f16", False, True), ("torch.compile", "f32", False, True)]
    for mode, precision, tf32, compiled in variants:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        if tf32 and not bench.on_gpu:
            continue
        plain = build(args.side, args.weights).to(device)
        if precision == "f16":
            plain = plain.to(memory_format=torch.channels_last)
            for part in (plain.backbone, plain.adaptor, plain.hidden, plain.norm, plain.score):
                part.half()
        for batch in args.batch:
            row = {"mode": mode, "precision": precision, "batch": batch}
            try:
                if compiled and time.perf_counter() - begin > args.limit:
                    raise TimeoutError(f"--limit {args.limit:g} s is over")
                torch.compiler.reset()
                network = torch.compile(plain, dynamic=False) if compiled else plain
                times, maps = bench.measure(network, batch)
            except Exception as error:  # noqa: BLE001 - a row that fails is one more result
                row["reason"] = reason(error)
                report["skipped"].append(row)
                print(f"{mode + ', ' + precision:24} {batch:5}  skipped: {row['reason']}", flush=True)
                continue
            finally:
                if bench.on_gpu:
                    torch.cuda.empty_cache()
            want = exact.setdefault(batch, maps) if (mode, precision) == ("eager", "f32") else exact.get(batch)
            deviation = None if want is None else float((maps - want).abs().max() / (want.max() - want.min()))
            median = statistics.median(times)
            row |= {
                "median_ms": round(median, 4),
                "fastest_ms": round(min(times), 4),
                "images_per_second": round(batch / median * 1e3, 2),
                "runs": len(times),
                "deviation": deviation,
            }
            report["rows"].append(row)
            shown = "n/a" if deviation is None else f"{deviation:.0e}"
            print(
                f"{mode + ', ' + precision:24} {batch:5} {median:10.3f} {min(times):9.3f} "
                f"{row['images_per_second']:9.1f} {len(times):5} {shown:>9}",
                flush=True,
            )
            if args.json:
                args.json.write_text(json.dumps(report, indent=1) + "\n")
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    if not report["rows"]:
        sys.exit("nothing could be measured")


if __name__ == "__main__":
    main()
