#!/usr/bin/env python3
"""Turns the monocrystalline half of ELPV into one category in MVTec layout.

    python3 -m venv .venv && .venv/bin/pip install -r tests/peers/requirements.txt
    .venv/bin/python tests/peers/elpv_to_mvtec.py data/elpv

ELPV holds electroluminescence photographs of solar cells, 300 x 300, gray, each with the
probability of a defect as experts rated it. Here 0 is a good cell and 1 a defective one; what
lies between is left out. One good cell in three, drawn with a fixed seed, goes to the test set.
There are no masks, so there are no pixel metrics.

The photographs are CC BY-NC-SA 4.0 (Deitsch et al.): for measuring, not to be passed on with
this project or with a product.
"""

import argparse
from pathlib import Path

import numpy as np
from elpv_dataset.utils import load_dataset
from PIL import Image

CATEGORY = "elpv_mono"
SPLIT_SEED = 0
GOOD_CELLS_PER_TEST_CELL = 3


def split(probability: np.ndarray, kind: np.ndarray) -> dict[str, np.ndarray]:
    """Row numbers of the data set by the folder that they go to."""
    mono = kind == "mono"
    good = np.flatnonzero(mono & (probability == 0))
    np.random.default_rng(SPLIT_SEED).shuffle(good)
    tested = len(good) // GOOD_CELLS_PER_TEST_CELL
    return {
        "train/good": good[tested:],
        "test/good": good[:tested],
        "test/defective": np.flatnonzero(mono & (probability == 1)),
    }


def write(images: np.ndarray, rows: np.ndarray, folder: Path) -> None:
    """One PNG a cell, named after its row in the data set."""
    folder.mkdir(parents=True, exist_ok=True)
    for row in np.sort(rows):
        Image.fromarray(images[row]).save(folder / f"{row:04d}.png")
    print(f"{folder}: {len(rows)} images")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help=f"where the folder {CATEGORY} is made")
    arguments = parser.parse_args()
    images, probability, kind = load_dataset()
    for name, rows in split(probability, kind).items():
        write(images, rows, arguments.out / CATEGORY / name)


if __name__ == "__main__":
    main()
