#!/usr/bin/env python3
"""Sets `simplenet bench` beside PyTorch and what is asked for.

    ratios.py RESULTS

In: bench-wide-resnet50-2-f32.json and -f16.json of `simplenet bench --json`, torch.json of gpu_engines.py. Out: images a second of both, from
a batch of bytes to maps, and their ratio; exit code 1 where a ratio is below 1.5 or a single image takes 12.0 ms or more (what
EfficientAD's authors measured for SimpleNet on an A6000). Needs nothing but Python.
"""

import json
import sys
from pathlib import Path

RATIO, LATENCY_MS = 1.5, 12.0


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    results = Path(sys.argv[1])
    torch = json.loads((results / "torch.json").read_text())
    eager = {(r["precision"], r["batch"]): r for r in torch["rows"] if r["mode"] == "eager"}
    best = {}
    for row in torch["rows"]:
        key = row["precision"], row["batch"]
        best[key] = min(best.get(key, row), row, key=lambda r: r["median_ms"])
    missed = compared = 0
    print(f"{'':10} {'ours':>9} {'':>10} {'PyTorch eager':>15} {'/ eager':>8} {'/ its best':>10}")
    for precision in ("f32", "f16"):
        path = results / f"bench-wide-resnet50-2-{precision}.json"
        if not path.is_file():
            print(f"{precision}: there is no {path.name}")
            missed += 1
            continue
        for batch in json.loads(path.read_text())["batches"]:
            size, network = batch["batch"], batch["network"]
            ms, key = network["milliseconds"]["p50"], (precision, batch["batch"])
            if key not in eager:
                print(f"{precision}, {size:4}: PyTorch has no such row")
                missed += 1
                continue
            # Medians on both sides.
            ratio, of_best = eager[key]["median_ms"] / ms, best[key]["median_ms"] / ms
            compared += 1
            late = size == 1 and ms >= LATENCY_MS
            print(
                f"{precision}, {size:4} {size / ms * 1e3:7.1f}/s {ms:7.2f} ms {eager[key]['images_per_second']:13.1f}/s "
                f"{ratio:8.2f} {of_best:10.2f} ({best[key]['mode']})"
                + (f"  below {RATIO}" if ratio < RATIO else "")
                + (f"  not below {LATENCY_MS} ms" if late else "")
            )
            missed += (ratio < RATIO) + late
    if missed or not compared:
        sys.exit(f"{missed} short of what is asked for, {compared} compared")


if __name__ == "__main__":
    main()
