#!/usr/bin/env python3
"""Makes categories in MVTec layout of the CC0 photographs in scikit-image's wheel: brick, grass and gravel.

In: nothing but the package scikit-image (the photographs are in its wheel; CC0). Out: OUT/{brick,grass,gravel} with
train/good (60 crops of the photograph's upper part), test/good (40 crops of its lower part) and test/KIND (15 each of
four kinds of defect drawn into crops of the lower part, with masks in ground_truth). Training and test crops share no
pixel; crops of one part overlap. The same numbers each time.

    pip install scikit-image pillow
    python tests/peers/photo_textures.py OUT
"""

import argparse
import pathlib

import numpy as np
import skimage.data
import skimage.filters
from PIL import Image, ImageDraw, ImageFilter

NAMES = ("brick", "grass", "gravel")
CROP = 192  # pixels of the photograph, which is 512 x 512
SPLIT = 304  # rows above are trained on, rows below are tested on
TRAIN, GOOD, EACH = 60, 40, 15


def crop(photograph, top, bottom, rng):
    """A random window between two rows, left as it is or mirrored."""
    y = rng.integers(top, bottom - CROP + 1)
    x = rng.integers(0, photograph.shape[1] - CROP + 1)
    window = photograph[y : y + CROP, x : x + CROP].astype(np.float32)
    return window[:, ::-1] if rng.integers(2) else window


def blob(rng, least, most):
    """A soft-edged round shape, 0 to 1: noise, smoothed, above its own level within a circle."""
    radius = rng.uniform(least, most)
    cy, cx = rng.uniform(radius, CROP - radius, 2)
    y, x = np.mgrid[:CROP, :CROP]
    wobble = skimage.filters.gaussian(rng.standard_normal((CROP, CROP)), 6) * 6
    distance = np.hypot(y - cy, x - cx) / radius + 0.35 * wobble
    return skimage.filters.gaussian((distance < 1).astype(np.float32), 1)


def foreign(image, rng, other):
    shape = blob(rng, 9, 22)
    return image * (1 - shape) + crop(other, SPLIT, 512, rng) * shape, shape > 0.5


def smear(image, rng, _other):
    shape = blob(rng, 12, 26)
    return image * (1 - shape) + skimage.filters.gaussian(image, 4) * shape, shape > 0.5


def stain(image, rng, _other):
    shape = blob(rng, 10, 26)
    change = rng.choice([-1, 1]) * rng.uniform(35, 70)
    return image + change * shape, shape > 0.5


def scratch(image, rng, _other):
    mask = Image.new("L", (CROP, CROP))
    angle, length = rng.uniform(0, np.pi), rng.uniform(30, 80)
    bend = rng.uniform(-0.8, 0.8)
    point, points = rng.uniform(0.25 * CROP, 0.75 * CROP, 2), []
    for _ in range(12):
        points.append(tuple(point))
        point = point + length / 12 * np.array([np.cos(angle), np.sin(angle)])
        angle += bend / 12
    ImageDraw.Draw(mask).line(points, fill=255, width=int(rng.integers(2, 4)))
    shape = np.asarray(mask.filter(ImageFilter.GaussianBlur(0.6)), np.float32) / 255
    change = rng.choice([-1, 1]) * rng.uniform(60, 110)
    return image + change * shape, np.asarray(mask) > 0


KINDS = (foreign, smear, stain, scratch)


def save(pixels, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8)).save(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    out = parser.parse_args().out
    photographs = [getattr(skimage.data, name)() for name in NAMES]
    for number, name in enumerate(NAMES):
        rng = np.random.default_rng(number)
        photograph, other = photographs[number], photographs[(number + 1) % len(NAMES)]
        for i in range(TRAIN):
            save(crop(photograph, 0, SPLIT, rng), out / name / "train/good" / f"{i:03}.png")
        for i in range(GOOD):
            save(crop(photograph, SPLIT, 512, rng), out / name / "test/good" / f"{i:03}.png")
        for kind in KINDS:
            for i in range(EACH):
                image, mask = kind(crop(photograph, SPLIT, 512, rng), rng, other)
                save(image, out / name / "test" / kind.__name__ / f"{i:03}.png")
                save(255 * mask, out / name / "ground_truth" / kind.__name__ / f"{i:03}_mask.png")
        print(f"{out / name}: {TRAIN} to train on, {GOOD} good and {EACH * len(KINDS)} defective to test")


if __name__ == "__main__":
    main()
