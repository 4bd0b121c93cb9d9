#!/usr/bin/env python3
"""Runs exported ONNX graphs in ONNX Runtime and OpenVINO and compares them with `simplenet infer`.

    python3 -m venv .venv && .venv/bin/pip install -r tests/peers/requirements-onnx.txt
    cargo build -p simplenet-cli
    .venv/bin/python tests/peers/onnx_peers.py --simplenet target/debug/simplenet [--cases NAME,…] [--timing MODEL]

In: the program. The script draws photographs with a seed, trains small detectors on them (a few seconds each; ResNets and
DINOv2 on random weights, since only arithmetic is compared) and exports each four ways: input from 0 to 1 or normalised, one
image or any number. Out: a line for each comparison; exit code 1 where one does not hold.

Checked for each graph:
- onnx.checker with full_check, which infers every shape; names, types and shapes of the outputs; the metadata;
- ONNX Runtime and OpenVINO against `simplenet infer`: pred_score of photographs that Pillow resizes here as the model's
  preprocessing says, and anomaly_map of photographs that need no resizing, whose map `infer` writes as it is. Allowed is
  1e-4 · max(1, largest |score| or |map|);
- pred_label is score >= threshold, and pred_mask map >= map threshold, of the graph's own numbers;
- a batch of three at once gives what three images alone give, within the same tolerance;
- the model on the embedded backbone also goes through anomalib's OpenVINOInferencer, where anomalib is installed.

--timing measures MODEL, exported here: the medians of rounds in which `simplenet bench` (its network), ONNX Runtime and
OpenVINO take turns on two threads each, one image at a time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import onnx
import onnxruntime
import openvino
from checks import PROBLEMS, check, close
from PIL import Image
from safetensors.numpy import save_file

THREADS = 2
# Of another shape than any network's input, so that they are resized both ways.
PHOTOGRAPH = (150, 130)
GOOD, NEW = 10, 3


@dataclass
class Case:
    """A detector: flags of `simplenet train`, settings over the preset's, the network whose random weights it takes."""

    name: str
    flags: list[str]
    settings: str = ""
    weights: str | None = None


CASES = [
    Case("default", ["--size", "96"]),
    Case("paper", ["--preset", "paper", "--size", "96"]),
    Case("paper-threshold", ["--preset", "paper", "--size", "97x83", "--held-out", "0.3"]),
    # Sides and cells that do not divide each other, everything else off the beaten track.
    Case(
        "odd",
        ["--size", "101x84"],
        "levels = [1, 2, 3]\nadaptor_layers = 2\nmap_sigma = 1.5\nimage_score = { largest-mean = 5 }\n"
        "[aggregator]\npatch_size = 5\nreduction = { adaptive-pool = { pretrain_dim = 100, target_dim = 70 } }\n"
        "[position.cells]\ncell = 4\nshrinkage = 30.0\nridge = 0.01\ndimensions = 24\nhead_weight = 0.5\n",
    ),
    Case(
        "single",
        ["--size", "64"],
        "levels = [3]\nadaptor_layers = 0\nposition = \"unaware\"\nimage_score = \"largest\"\n[aggregator]\npatch_size = 1\n",
    ),
    Case("resnet18", ["--backbone", "resnet18", "--size", "96"], weights="resnet18"),
    Case("wide-resnet50-2", ["--backbone", "wide-resnet50-2", "--preset", "paper", "--size", "64"], weights="wide_resnet50_2"),
    Case("dinov2", ["--backbone", "dinov2-vits14", "--size", "98x70"], weights="vit_small_patch14_dinov2"),
]

# ------------------------------------------------------------------------------------------------- photographs


def draw(folder: Path, count: int, seed: int, size: tuple[int, int]) -> list[Path]:
    """Smooth colour waves with a disc and noise; no two alike."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    ys, xs = np.mgrid[: size[1], : size[0]]
    paths = []
    for index in range(count):
        waves = [np.sin(xs * rng.uniform(0.05, 0.3) + ys * rng.uniform(0.05, 0.3)) for _ in range(3)]
        picture = 128 + 60 * np.stack(waves, -1) + rng.normal(0, 12, (*ys.shape, 3))
        radius = rng.uniform(10, 30)
        picture[(xs - size[0] / 2) ** 2 + (ys - size[1] / 2) ** 2 < radius**2] *= 0.5
        paths.append(folder / f"{index}.png")
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(paths[-1])
    return paths


def resized(photograph: Image.Image, preprocessing: dict) -> Image.Image:
    (kind, value), width, height = next(iter(preprocessing["resize"].items())), *photograph.size
    if kind == "exact":
        size = (value["width"], value["height"])
    else:
        shorter = min(width, height)
        size = tuple(value if side == shorter else int(value * side / shorter) for side in (width, height))
    return photograph.resize(size, Image.Resampling.BILINEAR)


def crop(picture: np.ndarray, preprocessing: dict) -> np.ndarray:
    """The centre, along the first two axes; half a pixel is rounded to even."""
    if "crop" not in preprocessing:
        return picture
    height, width = preprocessing["crop"]["height"], preprocessing["crop"]["width"]
    top, left = round((picture.shape[0] - height) / 2), round((picture.shape[1] - width) / 2)
    return picture[top : top + height, left : left + width]


def tensor(resized: Image.Image, preprocessing: dict, inside: bool) -> np.ndarray:
    """(1, 3, H, W), from 0 to 1 or normalised."""
    pixels = crop(np.asarray(resized.convert("RGB")), preprocessing).astype(np.float32) / np.float32(255)
    if not inside:
        mean, std = (np.array(preprocessing[key], np.float32) for key in ("mean", "std"))
        pixels = (pixels - mean) / std
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


# ------------------------------------------------------------------------------------------------------- ours


class Program:
    def __init__(self, path: Path) -> None:
        self.path = path.resolve()

    def run(self, *arguments: object) -> str:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        line = [str(self.path), "--threads", str(THREADS), *map(str, arguments)]
        done = subprocess.run(line, capture_output=True, text=True, env=environment)
        if done.returncode:
            sys.exit(f"{' '.join(line)}\n{done.stdout}{done.stderr}")
        return done.stdout

    def infer(self, model: Path, photographs: list[Path], out: Path) -> tuple[list[float], list[np.ndarray]]:
        flags = [flag for path in photographs for flag in ("--input", path)]
        self.run("infer", "--model", model, *flags, "--output", out, "--device", "cpu")
        lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
        by_name = {Path(line["path"]).name: line for line in lines}
        lines = [by_name[path.name] for path in photographs]
        return [line["score"] for line in lines], [np.load(out / line["anomaly_map"]) for line in lines]


def random_weights(network: str, path: Path) -> None:
    import torch

    torch.manual_seed(0)
    if network.startswith("vit"):
        import timm

        module = timm.create_model(network, pretrained=False, img_size=518)
    else:
        import torchvision

        module = torchvision.models.get_model(network, weights=None)
        # A fresh batch norm does nothing: draw one, so that folding it is seen.
        for part in module.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(part.running_var, 0.8, 1.2)
                torch.nn.init.normal_(part.running_mean, 0, 0.1)
    state = {k: v.numpy() for k, v in module.state_dict().items() if v.is_floating_point()}
    save_file(state, path)


# ------------------------------------------------------------------------------------------------------ peers


def onnxruntime_session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def with_onnxruntime(path: Path):
    session = onnxruntime_session(path)
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(None, {"input": images}), strict=True))


def with_openvino(path: Path):
    options = {"INFERENCE_NUM_THREADS": THREADS, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(path, "CPU", options)
    names = [output.any_name for output in compiled.outputs]
    return lambda images: {name: compiled({"input": images})[name] for name in names}


def compare(case: Case, program: Program, folder: Path) -> None:
    print(case.name, flush=True)
    flags = list(case.flags)
    if case.settings:
        (folder / "settings.toml").write_text(case.settings)
        flags += ["--config", folder / "settings.toml"]
    if case.weights:
        random_weights(case.weights, folder / "weights.safetensors")
        flags += ["--weights", folder / "weights.safetensors"]
    draw(folder / "good", GOOD, 1, PHOTOGRAPH)
    new = draw(folder / "new", NEW, 2, PHOTOGRAPH)
    program.run("train", "--normal", folder / "good", "--out", folder, "--epochs", 2, "--no-feature-cache", *flags)
    model = folder / "model.safetensors"

    first = onnx.load(export(program, model, folder, True, False))
    facts = {fact.key: fact.value for fact in first.metadata_props}
    record = json.loads(facts["preprocessing"])
    inputs = [resized(Image.open(path), record) for path in new]
    (folder / "resized").mkdir()
    flat = [folder / "resized" / path.name for path in new]
    for picture, path in zip(inputs, flat, strict=True):
        picture.save(path)
    scores, _ = program.infer(model, new, folder / "infer")
    flat_scores, maps = program.infer(model, flat, folder / "infer-resized")
    close(np.array(flat_scores), np.array(scores), "our own scores of photographs resized by Pillow")
    maps = np.stack([crop(whole, record) for whole in maps])[:, None]

    for inside in (True, False):
        for dynamic in (False, True):
            path = export(program, model, folder, inside, dynamic)
            graph = onnx.load(path)
            onnx.checker.check_model(graph, full_check=True)
            images = [tensor(picture, record, inside) for picture in inputs]
            for engine, load in (("ONNX Runtime", with_onnxruntime), ("OpenVINO", with_openvino)):
                run = load(path)
                alone = [run(image) for image in images]
                what = f"{engine}, {'0 to 1' if inside else 'normalised'}, {'any batch' if dynamic else 'one'}"
                close(np.concatenate([out["pred_score"] for out in alone]), np.array(scores), f"{what}: pred_score")
                close(np.concatenate([out["anomaly_map"] for out in alone]), maps, f"{what}: anomaly_map")
                judged(alone, facts, what)
                if dynamic:
                    together = run(np.concatenate(images))
                    close(together["pred_score"], np.array(scores), f"{what}: pred_score of {NEW} at once")
                    close(together["anomaly_map"], maps, f"{what}: anomaly_map of {NEW} at once")
                    judged([together], facts, f"{what}, {NEW} at once")
    expected = {"threshold", "map_threshold"} <= facts.keys()
    names = [output.name for output in first.graph.output]
    check(names == ["anomaly_map", "pred_score"] + ["pred_label", "pred_mask"] * expected, f"outputs {names}")
    if case.name == "default":
        anomalib(folder / "model-inside-one.onnx", new, inputs, record, facts)


def export(program: Program, model: Path, folder: Path, inside: bool, dynamic: bool) -> Path:
    out = folder / f"model-{'inside' if inside else 'outside'}-{'any' if dynamic else 'one'}.onnx"
    flags = ["--normalise-inside"] * inside + ["--dynamic-batch"] * dynamic
    program.run("export", "--model", model, "--format", "onnx", "--out", out, *flags)
    return out


def judged(outputs: list[dict[str, np.ndarray]], facts: dict[str, str], what: str) -> None:
    if "threshold" not in facts:
        return
    for out in outputs:
        labels = out["pred_score"] >= np.float32(facts["threshold"])
        masks = out["anomaly_map"] >= np.float32(facts["map_threshold"])
        right = out["pred_label"].dtype == bool and out["pred_mask"].dtype == bool
        right = right and (out["pred_label"] == labels).all() and (out["pred_mask"] == masks).all()
        if not right:
            check(False, f"{what}: pred_label or pred_mask is not what the thresholds say")


def anomalib(path: Path, new: list[Path], inputs: list[Image.Image], record: dict, facts: dict[str, str]) -> None:
    try:
        from anomalib.deploy import OpenVINOInferencer
    except ImportError:
        print("  anomalib is not installed: its inferencer is left out")
        return
    here = os.getcwd()
    os.chdir(path.parent)  # it makes a cache folder where it stands
    try:
        inferencer = OpenVINOInferencer(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        run = with_openvino(path)
        for photograph, picture in zip(new, inputs, strict=True):
            pixels = crop(np.asarray(picture), record)
            found, want = inferencer.predict(pixels), run(tensor(picture, record, True))
            name = f"anomalib's OpenVINOInferencer, {photograph.name}"
            close(np.ravel(found.pred_score), want["pred_score"], f"{name}: pred_score")
            close(np.squeeze(found.anomaly_map), np.squeeze(want["anomaly_map"]), f"{name}: anomaly_map")
            same = bool(np.ravel(found.pred_label)[0]) == bool(want["pred_label"][0])
            check(same and np.squeeze(found.pred_mask).shape == pixels.shape[:2], f"{name}: pred_label, pred_mask")
    finally:
        os.chdir(here)


# ----------------------------------------------------------------------------------------------------- timing


def timing(program: Program, model: Path, folder: Path, rounds: int, repeats: int) -> None:
    path = folder / "timed.onnx"
    program.run("export", "--model", model, "--format", "onnx", "--out", path)
    facts = {fact.key: fact.value for fact in onnx.load(path).metadata_props}
    width, height = int(facts["input_width"]), int(facts["input_height"])
    photographs = draw(folder / "timed", 4, 3, (width, height))
    image = tensor(Image.open(photographs[0]), json.loads(facts["preprocessing"]) | {"crop": {"width": width, "height": height}}, False)
    session, compiled = onnxruntime_session(path), None
    options = {"INFERENCE_NUM_THREADS": THREADS, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(path, "CPU", options).create_infer_request()
    runs = {
        f"ONNX Runtime {onnxruntime.__version__}": lambda: session.run(None, {"input": image}),
        f"OpenVINO {openvino.get_version().split('-')[0]}": lambda: compiled.infer({"input": image}),
    }
    times: dict[str, list[float]] = {"ours": [], **{name: [] for name in runs}}
    for _ in range(rounds):
        program.run("bench", "--model", model, "--input", folder / "timed", "--repeats", repeats, "--device", "cpu", "--json", folder / "bench.json")
        parts = json.loads((folder / "bench.json").read_text())["one_at_a_time"]["milliseconds"]
        times["ours"].append(parts["network"]["p50"])
        for name, run in runs.items():
            run()
            taken = []
            for _ in range(repeats):
                start = time.perf_counter()
                run()
                taken.append((time.perf_counter() - start) * 1e3)
            times[name].append(median(taken))
            time.sleep(0.1)  # idle threads spin for a while
    ours = median(times["ours"])
    print(f"{facts['backbone']} at {width}x{height}, {THREADS} threads, medians of {rounds} rounds of {repeats} runs:")
    for name, taken in times.items():
        print(f"  {name}: {median(taken):.2f} ms, {median(taken) / ours:.2f} times ours")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simplenet", required=True, type=Path, metavar="PROGRAM")
    parser.add_argument("--cases", help="only these, separated by commas", default=",".join(case.name for case in CASES))
    parser.add_argument("--timing", type=Path, metavar="MODEL", help="only time this model file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=30)
    arguments = parser.parse_args()
    program = Program(arguments.simplenet)
    if arguments.timing:
        with tempfile.TemporaryDirectory() as folder:
            timing(program, arguments.timing, Path(folder), arguments.rounds, arguments.repeats)
        return 0
    wanted = arguments.cases.split(",")
    unknown = set(wanted) - {case.name for case in CASES}
    if unknown:
        parser.error(f"no such cases: {sorted(unknown)}")
    for case in CASES:
        if case.name in wanted:
            with tempfile.TemporaryDirectory() as folder:
                compare(case, program, Path(folder))
    for problem in PROBLEMS:
        print(f"FAILED: {problem}")
    print(f"{len(wanted)} detectors compared, {len(PROBLEMS)} failures")
    return 1 if PROBLEMS else 0


if __name__ == "__main__":
    sys.exit(main())
