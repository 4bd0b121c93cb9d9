"""How often photographs are noted as unlike those that a model was trained on: rightly and wrongly.

    python tests/peers/unlike_training.py PROGRAM WORK SET [SET ...]

PROGRAM is `simplenet`, WORK a folder for models and changed photographs, each SET a category in MVTec layout. For each, a model is
trained (one epoch: the verdicts do not matter here), and the good test photographs, the defective ones, and changed copies of
good ones are inspected. Prints in how many photographs of each kind any difference was noted, and which. Needs Pillow and numpy.
"""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy
from PIL import Image, ImageFilter

COPIES = 8  # good photographs of which changed copies are made, at most


def levels(change):
    """The pixels' values changed, in grey levels."""
    return lambda image: Image.fromarray(numpy.clip(change(numpy.asarray(image, float)), 0, 255).astype("uint8"))


def scaled(by):
    return lambda image: image.resize([max(1, round(side * by)) for side in image.size], Image.BILINEAR)


def around_mean(factor):
    return levels(lambda v: v.mean() + factor * (v - v.mean()))


CHANGES = {
    "jpeg-95": ("jpg", {"quality": 95}, lambda image: image),
    "jpeg-85": ("jpg", {"quality": 85}, lambda image: image),
    "jpeg-75": ("jpg", {"quality": 75}, lambda image: image),
    "half": ("same", {}, scaled(0.5)),
    "double": ("same", {}, scaled(2.0)),
    "blur-1": ("same", {}, lambda image: image.filter(ImageFilter.GaussianBlur(1.0))),
    "blur-2": ("same", {}, lambda image: image.filter(ImageFilter.GaussianBlur(2.0))),
    "light-25%": ("same", {}, levels(lambda v: 0.75 * v)),
    "light+25%": ("same", {}, levels(lambda v: 1.25 * v)),
    "contrast-25%": ("same", {}, around_mean(0.75)),
    "contrast+25%": ("same", {}, around_mean(1.25)),
    "gray": ("same", {}, lambda image: image.convert("L")),
}


def noted(program, model, photographs, out):
    """How many photographs, how many with a difference, and how many of each kind."""
    command = [program, "infer", "--model", model, "--input", photographs, "--output", out, "--no-report"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    kinds = Counter(one["kind"] for line in lines for one in line.get("differences", []))
    return len(lines), sum("differences" in line for line in lines), kinds


def main():
    program, work, *sets = sys.argv[1:]
    work, total = Path(work), {}
    for root in map(Path, sets):
        here = work / root.name
        model = here / "model.safetensors"
        train = [program, "train", "--data", root, "--out", here, "--epochs", "1"]
        subprocess.run(train, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        good = sorted((root / "test/good").iterdir())
        cases = {"good": root / "test/good"}
        cases |= {f"defective/{d.name}": d for d in sorted((root / "test").iterdir()) if d.name != "good"}
        for name, (form, options, change) in CHANGES.items():
            folder = here / "changed" / name
            folder.mkdir(parents=True, exist_ok=True)
            for path in good[:: max(1, len(good) // COPIES)][:COPIES]:
                image = change(Image.open(path).convert("RGB"))
                suffix = path.suffix if form == "same" else "." + form
                if not options and suffix.lower() in (".jpg", ".jpeg"):
                    options = {"quality": 95}
                image.save(folder / (path.stem + suffix), **options)
            cases[name] = folder
        for name, folder in cases.items():
            images, differing, kinds = noted(program, model, folder, here / "out")
            print(f"{root.name:16} {name:22} {differing:4} of {images:4}  {dict(kinds)}", flush=True)
            sums = total.setdefault(name.split("/")[0], [0, 0])
            sums[0], sums[1] = sums[0] + differing, sums[1] + images
    for name, (differing, images) in total.items():
        print(f"all              {name:22} {differing:4} of {images:4}  {100 * differing / images:.1f} %")


if __name__ == "__main__":
    main()
