#!/usr/bin/env python3
"""Times training and the network of one image alone, and beside busy loops: what a line PC does that runs other things too.

    python3 tests/peers/under_load.py --normal FOLDER [--program target/release/simplenet] [--openvino PYTHON]

In: a folder of about 100 photographs. With `--openvino`, an interpreter that has openvino and numpy
(requirements-engines.txt), the exported graph runs in OpenVINO too. Out: a table on standard output.

The fair time of training beside n loops on c processors is its time alone times (1 + n / c). Latencies are those of
the same photographs one after the other; a factor is over the figure alone. Run it on a machine without other work.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

LOOPS = (0, 2, 4)
FAIR_LIMIT = 1.2
LATENCY_LIMITS = {0: 1.0, 2: 2.5, 4: 4.0}

OPENVINO = """
import json, sys, time
import numpy, openvino
core = openvino.Core()
network = core.compile_model(sys.argv[1], "CPU", {"PERFORMANCE_HINT": "LATENCY"})
shape = [d.get_length() if d.is_static else 1 for d in network.input(0).partial_shape]
image = numpy.random.default_rng(0).standard_normal(shape, dtype=numpy.float32)
request = network.create_infer_request()
times = []
for turn in range(int(sys.argv[2]) + 10):
    start = time.perf_counter()
    request.infer([image], share_inputs=True)
    times.append((time.perf_counter() - start) * 1000)
times = sorted(times[10:])
print(json.dumps({"p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100]}))
"""


@contextlib.contextmanager
def busy(loops: int) -> Iterator[None]:
    """Processes that do nothing but count, as many as `loops`, until the end of the block."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        time.sleep(1)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def run(*command: object) -> str:
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{command[0]} failed: {result.stderr.strip()}")
    return result.stdout


def network_latency(program: Path, model: Path, photographs: Path, repeats: int, folder: Path) -> dict[str, float]:
    report = folder / "bench.json"
    run(program, "bench", "--model", model, "--input", photographs, "--repeats", repeats, "--json", report)
    return json.loads(report.read_text())["one_at_a_time"]["milliseconds"]["network"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--normal", type=Path, required=True, help="photographs of good parts")
    parser.add_argument("--program", type=Path, default=Path("target/release/simplenet"))
    parser.add_argument("--openvino", help="an interpreter with openvino and numpy")
    parser.add_argument("--repeats", type=int, default=200, help="latencies per row")
    parser.add_argument("--no-training", action="store_true", help="latencies only")
    arguments = parser.parse_args()

    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        train = [arguments.program, "train", "--normal", arguments.normal, "--out"]
        run(*train, folder / "model", "--epochs", 1)
        model = folder / "model" / "model.safetensors"
        graph = folder / "model.onnx"
        if arguments.openvino:
            run(arguments.program, "export", "--model", model, "--format", "onnx", "--out", graph)
        alone: dict[str, dict[str, float]] = {}
        for loops in LOOPS:
            with busy(loops):
                rows = {"network": network_latency(arguments.program, model, arguments.normal, arguments.repeats, folder)}
                if arguments.openvino:
                    rows["OpenVINO"] = json.loads(run(arguments.openvino, "-c", OPENVINO, graph, arguments.repeats))
                for name, times in rows.items():
                    first = alone.setdefault(name, times)
                    factors = {key: times[key] / first[key] for key in ("p50", "p99")}
                    print(
                        f"{loops} loops  {name:9} p50 {times['p50']:6.1f} ms, p99 {times['p99']:6.1f} ms:"
                        f" {factors['p50']:.1f} and {factors['p99']:.1f} times those alone"
                        f" (at most {LATENCY_LIMITS[loops]} for the network)",
                        flush=True,
                    )
                if not arguments.no_training:
                    start = time.perf_counter()
                    run(*train, folder / f"trained-{loops}")
                    seconds = time.perf_counter() - start
                    base = alone.setdefault("training", {"s": seconds})["s"] * (1 + loops / cores)
                    print(
                        f"{loops} loops  training  {seconds:6.1f} s: {seconds / base:.2f} times its fair {base:.1f} s"
                        f" (at most {FAIR_LIMIT})",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
