"""Large photographs of a made-up board, good ones and ones with a small spot, in MVTec AD's layout: what docs/benchmarks.md
measures tiles with.

    python board_with_spots.py --out board --width 1536 --height 1024 --train 24 --spot 6

Needs numpy and Pillow. The board's parts lie where they lie, moved by up to 2 pixels, with noise and light of each photograph's own.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

TEST_GOOD, TEST_SPOT = 8, 12


def good(seed, width, height):
    """A photograph of a good board, (height, width, 3) float."""
    own, layout = np.random.default_rng(seed), np.random.default_rng(1)
    picture = Image.new("RGB", (width, height), (130, 120, 120))
    draw = ImageDraw.Draw(picture)
    dx, dy = (int(v) for v in own.integers(-2, 3, 2))
    for _ in range(width * height // 9000):
        x, y, side = int(layout.integers(width)), int(layout.integers(height)), int(layout.integers(8, 40))
        colour = tuple(int(v) for v in layout.integers(60, 200, 3))
        box = [x + dx, y + dy, x + side + dx, y + side + dy]
        if layout.random() < 0.5:
            draw.rectangle([*box[:3], y + side // 2 + dy], fill=colour)
        else:
            draw.ellipse(box, fill=colour)
    values = np.asarray(picture.filter(ImageFilter.GaussianBlur(1))).astype(np.float32)
    values *= 1 + own.normal(0, 0.02)
    clouds = Image.fromarray(own.normal(0, 1, (height // 8, width // 8)).astype(np.float32))
    values += 2 * np.asarray(clouds.resize((width, height), Image.BICUBIC))[..., None]
    return values + own.normal(0, 2, values.shape)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--width", type=int, default=1536)
    parser.add_argument("--height", type=int, default=1024)
    parser.add_argument("--train", type=int, default=24, help="good photographs to train on")
    parser.add_argument("--spot", type=int, default=6, help="diameter of a spot, in pixels")
    args = parser.parse_args()
    size = (args.width, args.height)

    def save(values, *name):
        path = args.out.joinpath(*name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(path)

    for i in range(args.train):
        save(good(100 + i, *size), "train", "good", f"{i:03}.png")
    for i in range(TEST_GOOD):
        save(good(5000 + i, *size), "test", "good", f"{i:03}.png")
    places = np.random.default_rng(7)
    rows, columns = np.mgrid[0 : args.height, 0 : args.width]
    for i in range(TEST_SPOT):
        x, y = places.integers(30, args.width - 30), places.integers(30, args.height - 30)
        values = good(6000 + i, *size)
        spot = (columns - x) ** 2 + (rows - y) ** 2 <= (args.spot / 2) ** 2
        values[spot] = values[spot] * 0.35 + np.array([42, 15, 12])
        save(values, "test", "spot", f"{i:03}.png")
        save(np.where(spot, 255, 0), "ground_truth", "spot", f"{i:03}_mask.png")


main()
