#!/usr/bin/env python3
"""Compares what two runs of `simplenet eval` say of the same photographs.

    compare.py WANTED GOT --scores LIMIT --auroc LIMIT

In: two folders with predictions.jsonl, and beside each a file of its name with the ending .json, the metrics. Out: the largest
difference of an image score, over the spread of the wanted ones, verdicts that differ, and the difference of image AUROC; exit code 1
beyond a limit. Needs nothing but Python.
"""

import argparse
import json
import sys
from pathlib import Path


def predictions(folder):
    lines = (folder / "predictions.jsonl").read_text().splitlines()
    found = {}
    for prediction in map(json.loads, lines):
        if prediction.get("error"):
            sys.exit(f"{folder}: {prediction['path']}: {prediction['error']}")
        found[prediction["path"]] = prediction
    if not found:
        sys.exit(f"{folder}: no predictions")
    return found


def auroc(predictions):
    """Of image scores: the share of pairs in the right order, ties half."""
    good = [p["score"] for p in predictions.values() if p.get("label") in ("good", "normal")]
    bad = [p["score"] for p in predictions.values() if p.get("label") == "anomalous"]
    if not good or not bad:
        sys.exit("there are no labels: image AUROC needs good and anomalous photographs")
    right = sum((b > g) + (b == g) / 2 for b in bad for g in good)
    return right / len(good) / len(bad)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wanted", type=Path)
    parser.add_argument("got", type=Path)
    parser.add_argument("--scores", type=float, required=True, help="largest difference allowed, over the spread of the scores")
    parser.add_argument("--auroc", type=float, required=True, help="largest difference allowed")
    args = parser.parse_args()
    wanted, got = predictions(args.wanted), predictions(args.got)
    if wanted.keys() != got.keys():
        sys.exit(f"the photographs differ: {sorted(wanted.keys() ^ got.keys())[:3]} and perhaps more")
    scores = [p["score"] for p in wanted.values()]
    spread = max(scores) - min(scores)
    differences = {path: abs(got[path]["score"] - p["score"]) / spread for path, p in wanted.items()}
    # What is no number compares with nothing, so it must be looked for.
    broken = [path for path, difference in differences.items() if difference != difference]
    worst = max(differences, key=differences.get)
    verdicts = [path for path, p in wanted.items() if got[path]["verdict"] != p["verdict"]]
    of_wanted, of_got = auroc(wanted), auroc(got)
    print(f"photographs {len(wanted)}")
    print(f"largest difference of an image score {differences[worst]:.2e} of their spread ({worst}); allowed {args.scores:g}")
    print(f"verdicts that differ {len(verdicts)}" + "".join(f"\n  {path}" for path in verdicts))
    print(f"image AUROC {of_wanted:.4f} and {of_got:.4f}; allowed difference {args.auroc:g}")
    if broken:
        sys.exit(f"no numbers: {broken[:3]}")
    if differences[worst] > args.scores or abs(of_wanted - of_got) > args.auroc:
        sys.exit("beyond what is allowed")


if __name__ == "__main__":
    main()
