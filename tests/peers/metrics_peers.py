#!/usr/bin/env python3
"""Compares simplenet-metrics with scikit-learn, anomalib and ADEval: same arrays, same process.

    python3 -m venv .venv && .venv/bin/pip install -r tests/peers/requirements-metrics.txt
    .venv/bin/python tests/peers/metrics_peers.py

The crate is built as a C library (its example python_bridge, release) and called through ctypes on the
numpy arrays themselves, without a copy.

Correctness, on small and middle sets of many kinds; exit code 1 if ours deviates:
- pixel AUROC, AP and F1-max from scikit-learn on float64 copies of the scores, to 1e-12;
- AUPRO@0.30 and @0.05 from MVTec AD's definition, written here in float64, to 1e-12, and from anomalib,
  which calculates in float32, to 1e-5;
- the F1 at our threshold, counted anew, is F1-max;
- AUPIMO of every image from its definition, at every distinct score and in float64, to 1e-12; the deviation of
  anomalib, which takes 300,000 evenly spaced thresholds, is printed and nothing follows from it;
- what is undefined is NaN;
- ADEval works on 1000 bins: its deviation is printed and nothing follows from it.

Timing, on 83 maps of 900 x 900 drawn with a seed, 60 of them with masks, two threads for everybody: the
methods take turns, medians are reported, and for each the peak of memory beyond what was resident before
(the arrays themselves, 320 MiB, are not in it). scikit-learn and ADEval mostly keep to one thread: the
processor time is the sum over all threads. The tables are Markdown. Needs 8 GB of memory and three minutes;
--skip-timing leaves it out.
"""

import os

# Read when the libraries are loaded, hence before the imports.
THREADS = 2
for variable in ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(THREADS)

import argparse
import ctypes
import datetime
import gc
import importlib.metadata
import json
import logging
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch
from scipy.ndimage import gaussian_filter, label
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

if not hasattr(np, "trapz"):
    np.trapz = np.trapezoid  # numpy 2.4 dropped the old name; ADEval 1.1.0 calls it.

import adeval
from anomalib.metrics.aupro import _AUPRO
from anomalib.metrics.pimo.pimo import _AUPIMO

LIMITS = (0.30, 0.05)
PAPER_BOUNDS = (1e-5, 1e-4)  # of AUPIMO
WIDE_BOUNDS = (1e-3, 1e-1)  # for sets with too few normal pixels for the paper's
EXACT = 1e-12  # sums of float64 in another order
FLOAT32 = 1e-5  # anomalib's arithmetic
REPOSITORY = Path(__file__).resolve().parents[2]


# ---------------------------------------------------------------------------------------------- ours


@dataclass
class Metrics:
    auroc: float
    ap: float
    f1: float
    f1_threshold: float
    aupro30: float
    aupro05: float


class Ours:
    """The crate's C library."""

    ERRORS = {1: "bad pointer", 2: "too large", 3: "unusable scores", 4: "internal error"}

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        size, number, numbers = ctypes.c_size_t, ctypes.c_double, ctypes.POINTER(ctypes.c_double)
        arrays = [ctypes.POINTER(ctypes.c_float), ctypes.POINTER(ctypes.c_uint8), size, size, size]
        self.pixel_metrics = library.simplenet_pixel_metrics
        self.pixel_metrics.argtypes = [*arrays, numbers, size, numbers]
        self.pixel_metrics.restype = ctypes.c_int32
        self.image_metrics = library.simplenet_aupimo
        self.image_metrics.argtypes = [*arrays, number, number, numbers]
        self.image_metrics.restype = ctypes.c_int32

    def metrics(self, scores: np.ndarray, masks: np.ndarray) -> Metrics:
        """scores: (images, height, width) float32; masks: the same shape, uint8; both in C order."""
        limits = (ctypes.c_double * len(LIMITS))(*LIMITS)
        out = (ctypes.c_double * (4 + len(LIMITS)))()
        self.check(self.pixel_metrics(*self.arrays(scores, masks), limits, len(LIMITS), out))
        return Metrics(*out)

    def aupimo(self, scores: np.ndarray, masks: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
        """The mean, then a value for each image, NaN for normal ones; all NaN where AUPIMO is undefined."""
        out = (ctypes.c_double * (1 + len(scores)))()
        self.check(self.image_metrics(*self.arrays(scores, masks), *bounds, out))
        return np.array(out)

    @staticmethod
    def arrays(scores: np.ndarray, masks: np.ndarray) -> tuple:
        assert scores.dtype == np.float32 and scores.flags.c_contiguous and scores.ndim == 3
        assert masks.dtype == np.uint8 and masks.flags.c_contiguous and masks.shape == scores.shape
        return (
            scores.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
            masks.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)),
            *scores.shape,
        )

    def check(self, code: int) -> None:
        if code != 0:
            raise RuntimeError(f"simplenet-metrics: {self.ERRORS.get(code, code)}")


def build_library() -> Path:
    """Builds the example and returns where cargo put it."""
    command = ["cargo", "build", "--release", "-p", "simplenet-metrics", "--example", "python_bridge"]
    command.append("--message-format=json-render-diagnostics")
    built = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True)
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message["reason"] == "compiler-artifact" and message["target"]["name"] == "python_bridge":
            return Path(message["filenames"][0])
    sys.exit("cargo named no library for the example python_bridge; build it yourself and pass --library")


# ---------------------------------------------------------------------------------------------- peers


def share_found(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Share of `values` at or above each threshold, in front of it 0 above all of them."""
    values = np.sort(values, axis=None)
    return np.append(0.0, (values.size - np.searchsorted(values, thresholds)) / values.size)


def area(x: np.ndarray, y: np.ndarray, start: float, end: float) -> float:
    """Trapezoid area from `start` to `end`, interpolated at both."""
    inside = (start < x) & (x <= end)
    x_inside = np.concatenate(([start], x[inside], [end]))
    y_inside = np.concatenate(([np.interp(start, x, y)], y[inside], [np.interp(end, x, y)]))
    return float(np.sum(np.diff(x_inside) * (y_inside[1:] + y_inside[:-1]) / 2))


def mvtec_aupro(scores: np.ndarray, masks: np.ndarray, limits: tuple[float, ...]) -> list[float]:
    """AUPRO as MVTec AD defines it, at every distinct score, in float64."""
    thresholds = np.unique(scores)[::-1]
    rate = share_found(scores[masks == 0], thresholds)
    overlaps = []
    for image, mask in zip(scores, masks):
        labelled, count = label(mask, np.ones((3, 3)))
        overlaps += [share_found(image[labelled == region], thresholds) for region in range(1, count + 1)]
    overlap = sum(overlaps) / len(overlaps)
    return [area(rate, overlap, 0.0, limit) / limit for limit in limits]


def defined_aupimo(scores: np.ndarray, masks: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """AUPIMO as Bertoldo et al. define it, at every distinct score, in float64; as `Ours.aupimo` gives it."""
    out = np.full(1 + len(scores), np.nan)
    anomalous = masks.any(axis=(1, 2))
    thresholds = np.unique(scores)[::-1]
    rates = [share_found(image, thresholds) for image in scores[~anomalous]]
    if not rates or not anomalous.any():
        return out
    rate = sum(rates) / len(rates)
    reached = rate > 0
    if rate[reached][0] > bounds[0]:  # the curve begins above the lower bound
        return out
    logarithm, (lower, upper) = np.log(rate[reached]), np.log(bounds)
    for image in np.flatnonzero(anomalous):
        found = share_found(scores[image][masks[image] != 0], thresholds)
        out[1 + image] = area(logarithm, found[reached], lower, upper) / (upper - lower)
    out[0] = np.nanmean(out[1:])
    return out


def scikit_learn(scores: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    labels, values = masks.reshape(-1), scores.reshape(-1)
    return {
        "auroc": float(roc_auc_score(labels, values)),
        "ap": float(average_precision_score(labels, values)),
    }


def scikit_learn_f1_max(scores: np.ndarray, masks: np.ndarray) -> float:
    precision, recall, _ = precision_recall_curve(masks.reshape(-1), scores.reshape(-1))
    with np.errstate(invalid="ignore"):
        return float(np.nanmax(2 * precision * recall / (precision + recall)))


def anomalib_aupro(scores: np.ndarray, masks: np.ndarray, limit: float) -> float:
    metric = _AUPRO(fpr_limit=limit)
    metric.update(torch.from_numpy(scores), torch.from_numpy(masks))
    return float(metric.compute())


def anomalib_aupimo(scores: np.ndarray, masks: np.ndarray, bounds: tuple[float, float]) -> float:
    metric = _AUPIMO(fpr_bounds=bounds)
    metric.update(torch.from_numpy(scores), torch.from_numpy(masks.view(bool)))
    return float(metric.compute())


def adeval_all(scores: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    with np.errstate(all="ignore"):
        return dict(zip(("auroc", "ap", "aupro30"), adeval.auroc_aupr_aupro(scores, masks)))


# ---------------------------------------------------------------------------------------------- data


def smooth_set(
    images: int, defective: int, size: int, seed: int, radius: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Smooth maps: coarse noise, upsampled and blurred; one to three ellipses with raised scores in each of
    the first `defective`, half axes from `radius`."""
    rng = np.random.default_rng(seed)
    scores = np.empty((images, size, size), np.float32)
    masks = np.zeros((images, size, size), np.uint8)
    y, x = np.mgrid[:size, :size]
    margin = radius[1] * 8 // 9
    for image in range(images):
        coarse = rng.standard_normal((36, 36)).astype(np.float32)
        scores[image] = gaussian_filter(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR), 4)
        if image >= defective:
            continue
        for _ in range(rng.integers(1, 4)):
            center = rng.integers(margin, size - margin, 2)
            axes = rng.integers(*radius, 2)
            ellipse = ((y - center[0]) / axes[0]) ** 2 + ((x - center[1]) / axes[1]) ** 2 < 1
            masks[image][ellipse] = 1
            scores[image] += 1.5 * gaussian_filter(ellipse.astype(np.float32), 8)
    return scores, masks


def cases() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, scores, masks. Every set has both classes."""
    rng = np.random.default_rng(1)

    def noise(masks: np.ndarray, lift: float = 0.7) -> np.ndarray:
        return (rng.standard_normal(masks.shape) + lift * masks).astype(np.float32)

    def blobs(images: int, size: int, share: float = 0.03) -> np.ndarray:
        """Ragged regions of all sizes, at the borders too; the first image is good."""
        field = np.stack([gaussian_filter(rng.standard_normal((size, size)), 2) for _ in range(images)])
        masks = (field > np.quantile(field, 1 - share)).astype(np.uint8)
        masks[0] = 0
        return masks

    masks = blobs(4, 64)
    yield "noise", noise(masks), masks
    yield "noise, worse than chance", noise(masks, -0.7), masks
    yield "noise with ties (quarters)", np.round(noise(masks) * 4) / 4, masks
    yield "zeros and ones", (noise(masks) > 0.5).astype(np.float32), masks
    yield "both zeros", np.float32(np.trunc(noise(masks))) * rng.choice([-1, 1], masks.shape).astype("f4"), masks
    yield "negative scores", -np.abs(noise(masks)) - 1, masks
    yield "one score for all", np.full(masks.shape, -2.5, np.float32), masks
    yield "perfect separation", (noise(masks, 0) % 1 + 2 * masks).astype(np.float32), masks
    wide = (noise(masks) * 10.0 ** rng.integers(-30, 31, masks.shape)).astype(np.float32)
    yield "magnitudes from 1e-30 to 1e30", wide, masks

    points = np.zeros((4, 64, 64), np.uint8)
    points[1:, 2::9, 3::7] = 1
    yield "regions of one pixel", noise(points), points
    diagonal = np.zeros((4, 64, 64), np.uint8)
    for image in range(1, 4):
        diagonal[image][np.eye(64, k=11 * image, dtype=bool)] = 1
        diagonal[image][np.eye(64, k=-9 * image, dtype=bool)[::-1]] = 1
    yield "diagonal regions", noise(diagonal), diagonal
    full = blobs(4, 64)
    full[2] = 1
    yield "an image that is anomalous throughout", noise(full), full
    strips = blobs(5, 96)[:, :40].copy()
    yield "images wider than high", noise(strips), strips

    scores, masks = smooth_set(8, 5, 256, 2, (6, 40))
    yield "smooth maps", scores, masks
    yield "smooth maps, constant below 0.5", np.maximum(scores, np.float32(0.5)), masks
    yield "smooth maps in 8 bits", np.round(scores * 32).astype(np.float32), masks


# ---------------------------------------------------------------------------------------------- correctness


def counted_f1(scores: np.ndarray, masks: np.ndarray, threshold: float) -> float:
    predicted = scores >= np.float32(threshold)
    found = int(np.count_nonzero(predicted & (masks != 0)))
    return 2 * found / (int(np.count_nonzero(predicted)) + int(np.count_nonzero(masks)))


def check_correctness(ours: Ours) -> bool:
    """Prints a line a case; False if ours deviates anywhere."""
    sound = True

    def verdict(got: float, want: float, tolerance: float) -> str:
        nonlocal sound
        deviation = abs(got - want)
        if deviation <= tolerance:  # false for NaN
            return f"{deviation:.0e}"
        sound = False
        return f"{deviation:.0e} WRONG: {got!r} instead of {want!r}"

    print("Deviation of ours from each reference. Columns of ADEval and of anomalib's AUPIMO: theirs from ours.\n"
          "AUPIMO runs from a rate of 1e-3 to 1e-1 (of the smooth maps: from 1e-5 to 1e-4).\n")  # fmt: skip
    print("| set | AUROC | AP | F1-max | F1 at our threshold | AUPRO@0.30, @0.05 by definition "
          "| anomalib AUPRO@0.30, @0.05 | AUPIMO by definition, worst image | anomalib AUPIMO "
          "| ADEval AUROC, AP, AUPRO@0.30 |")  # fmt: skip
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, scores, masks in cases():
        scores, masks = np.ascontiguousarray(scores, np.float32), np.ascontiguousarray(masks, np.uint8)
        got = ours.metrics(scores, masks)
        double = scores.astype(np.float64)
        want = scikit_learn(double, masks)
        f1 = scikit_learn_f1_max(double, masks)
        definition = mvtec_aupro(scores, masks, LIMITS)
        cells = [
            verdict(got.auroc, want["auroc"], EXACT),
            verdict(got.ap, want["ap"], EXACT),
            verdict(got.f1, f1, EXACT),
            verdict(counted_f1(scores, masks, got.f1_threshold), f1, EXACT),
            ", ".join(
                verdict(a, b, EXACT) for a, b in zip((got.aupro30, got.aupro05), definition)
            ),
        ]
        peers = [anomalib_aupro(scores, masks, limit) for limit in LIMITS]
        if masks.all(axis=(1, 2)).any():
            # anomalib 2.7.0 drops the first label of an image as the background, which a mask without a
            # normal pixel has not: its region counts as defect-free. Nothing to hold ours against.
            peers = [abs(peer - own) for peer, own in zip(peers, (got.aupro30, got.aupro05))]
            cells.append(", ".join(f"{peer:.0e}" for peer in peers) + " (loses the full mask)")
        else:
            cells.append(
                ", ".join(verdict(a, b, FLOAT32) for a, b in zip((got.aupro30, got.aupro05), peers))
            )
        bounds = PAPER_BOUNDS if name == "smooth maps" else WIDE_BOUNDS
        per_image, reference = ours.aupimo(scores, masks, bounds), defined_aupimo(scores, masks, bounds)
        if np.isnan(reference).all() and np.isnan(per_image).all():
            cells += ["undefined, as it should be", ""]
        else:
            same_images = np.array_equal(np.isnan(per_image), np.isnan(reference))
            worst = np.nanargmax(np.abs(per_image - reference)) if same_images else 0
            cells.append(verdict(per_image[worst], reference[worst] if same_images else np.nan, EXACT))
            try:
                cells.append(f"{abs(anomalib_aupimo(scores, masks, bounds) - per_image[0]):.0e}")
            except Exception as error:  # reported, not judged
                cells.append(f"n/a ({type(error).__name__})")
        try:
            binned = adeval_all(scores, masks)
            cells.append(", ".join(f"{abs(value - getattr(got, key)):.0e}" for key, value in binned.items()))
        except Exception as error:  # reported, not judged
            cells.append(f"n/a ({type(error).__name__})")
        print(f"| {name} | " + " | ".join(cells) + " |")

    scores = np.zeros((2, 32, 32), np.float32)
    empty, full = np.zeros_like(scores, np.uint8), np.ones_like(scores, np.uint8)
    got = ours.metrics(scores, empty)
    values = (got.auroc, got.ap, got.f1, got.f1_threshold, got.aupro30, got.aupro05)
    undefined = all(np.isnan(value) for value in values)
    got = ours.metrics(scores, full)
    undefined &= all(np.isnan(value) for value in (got.auroc, got.aupro30, got.aupro05))
    for masks in (empty, full):
        undefined &= bool(np.isnan(ours.aupimo(scores, masks, PAPER_BOUNDS)).all())
    scores[1, 2, 3] = np.nan
    for refused in (ours.metrics, lambda *arrays: ours.aupimo(*arrays, PAPER_BOUNDS)):
        try:
            refused(scores, full)
            undefined = False
        except RuntimeError:
            pass
    print(f"\nUndefined metrics are NaN and NaN scores are refused: {'yes' if undefined else 'NO, WRONG'}")
    print("Ours agrees everywhere." if sound and undefined else "OURS DEVIATES.")
    return sound and undefined


# ---------------------------------------------------------------------------------------------- timing


def resident(field: str) -> int | None:
    """A field of /proc/self/status in bytes; None where there is no such thing."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


@dataclass
class Run:
    result: dict[str, float]
    seconds: float
    cpu_seconds: float
    extra_memory: int | None


def measure(call: Callable[[], dict[str, float]]) -> Run:
    """One call; the extra memory is the peak of what is resident beyond what was resident before."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what earlier calls freed must not hide what this one takes
    except (AttributeError, OSError, TypeError):
        pass
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from here
        before = resident("VmRSS")
    except OSError:
        before = None
    start, cpu_start = time.perf_counter(), time.process_time()
    result = call()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    peak = resident("VmHWM")
    extra = None if before is None or peak is None else max(0, peak - before)
    return Run(result, seconds, cpu_seconds, extra)


@dataclass
class Method:
    name: str
    computes: str
    call: Callable[[], dict[str, float]]
    repeats: int


def processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def report_timing(ours: Ours, repeats: int, slow_repeats: int) -> None:
    images, defective, size = 83, 60, 900
    scores, masks = smooth_set(images, defective, size, 0, (20, 90))

    pixel_methods = [
        Method("simplenet-metrics", "AUROC, AP, F1-max, AUPRO@0.30, AUPRO@0.05; exact",
               lambda: vars(ours.metrics(scores, masks)), repeats),
        Method("ADEval `auroc_aupr_aupro`", "AUROC, AP, AUPRO@0.30; 1000 bins",
               lambda: adeval_all(scores, masks), repeats),
        Method("scikit-learn `roc_auc_score` + `average_precision_score`", "AUROC, AP; exact",
               lambda: scikit_learn(scores, masks), slow_repeats),
        Method("anomalib `AUPRO`", "AUPRO@0.30; exact, float32",
               lambda: {"aupro30": anomalib_aupro(scores, masks, 0.30)}, slow_repeats),
    ]  # fmt: skip
    image_methods = [
        Method("simplenet-metrics", "AUPIMO of each image; exact",
               lambda: {"aupimo": float(ours.aupimo(scores, masks, PAPER_BOUNDS)[0])}, repeats),
        Method("anomalib `AUPIMO`", "AUPIMO of each image; 300,000 thresholds",
               lambda: {"aupimo": anomalib_aupimo(scores, masks, PAPER_BOUNDS)}, slow_repeats),
    ]  # fmt: skip
    versions = ", ".join(
        f"{package} {importlib.metadata.version(package)}"
        for package in ("numpy", "scikit-learn", "torch", "anomalib", "adeval")
    )
    print(f"\n{images} maps of {size}x{size} ({scores.size / 1e6:.1f} million pixels), {defective} with masks "
          f"({masks.mean():.1%} of all pixels anomalous); {THREADS} threads.")  # fmt: skip
    print(f"{processor()}, {os.cpu_count()} cores; Python {platform.python_version()}, {versions}; "
          f"{datetime.date.today()}.")  # fmt: skip
    for methods in (pixel_methods, image_methods):
        compare(methods)


def compare(methods: list[Method]) -> None:
    """Runs the methods in turns and prints their table; the first one is ours."""
    runs: dict[str, list[Run]] = {method.name: [] for method in methods}
    for turn in range(max(method.repeats for method in methods)):
        for method in methods:
            if turn < method.repeats:
                runs[method.name].append(measure(method.call))
                print(f"{method.name}: {runs[method.name][-1].seconds:.3f} s", file=sys.stderr)

    names = {"auroc": "AUROC", "ap": "AP", "f1": "F1-max", "aupro30": "AUPRO@0.30", "aupro05": "AUPRO@0.05",
             "aupimo": "mean AUPIMO"}  # fmt: skip
    own = runs[methods[0].name][0].result
    own_seconds = median(run.seconds for run in runs[methods[0].name])
    print("\nOurs: " + ", ".join(f"{names[key]} {own[key]:.9f}" for key in names if key in own) + ".\n")
    print("| method | what it gives | time, median | time / ours | processor time | runs | peak extra memory "
          "| its values minus ours |")  # fmt: skip
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |")
    for method in methods:
        done = runs[method.name]
        seconds = median(run.seconds for run in done)
        cpu_seconds = median(run.cpu_seconds for run in done)
        memory = [run.extra_memory for run in done]
        peak = "n/a" if None in memory else f"{max(memory) / 2**20:.0f} MiB"
        result = {} if method is methods[0] else done[0].result
        errors = ", ".join(f"{names[key]} {result[key] - own[key]:+.1e}" for key in names if key in result)
        print(f"| {method.name} | {method.computes} | {seconds:.3f} s | {seconds / own_seconds:.1f} "
              f"| {cpu_seconds:.3f} s | {len(done)} | {peak} | {errors} |")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--library", type=Path, help="the built python_bridge, instead of building it")
    parser.add_argument("--skip-timing", action="store_true", help="only check that the numbers agree")
    parser.add_argument("--repeats", type=int, default=3, help="runs of ours and of ADEval (default 3)")
    parser.add_argument(
        "--slow-repeats", type=int, default=1, help="runs of scikit-learn and of anomalib (default 1)"
    )
    arguments = parser.parse_args()
    if min(arguments.repeats, arguments.slow_repeats) < 1:
        parser.error("every method must run at least once")
    torch.set_num_threads(THREADS)
    cv2.setNumThreads(THREADS)
    warnings.filterwarnings("ignore", category=UserWarning)
    logging.disable(logging.WARNING)  # anomalib on bounds that no threshold meets: its deviation shows it
    ours = Ours(arguments.library.resolve() if arguments.library else build_library())
    sound = check_correctness(ours)
    if not arguments.skip_timing:
        report_timing(ours, arguments.repeats, arguments.slow_repeats)
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()
