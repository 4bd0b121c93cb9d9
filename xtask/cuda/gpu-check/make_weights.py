#!/usr/bin/env python3
"""Draws random weights, the same on every machine, for timing: arithmetic takes as long with any numbers.

    make_weights.py SHAPES.json OUT.safetensors

In: {"tensors": [{"name": ..., "shape": [...]}]}, names as torchvision's. Out: a safetensors file of f32. Convolutions are normal with
half of He's variance, with which numbers neither grow nor vanish on the way through a residual network; batch norm's parameters are
near those that do nothing. Needs nothing but Python.
"""

import array
import json
import math
import multiprocessing
import random
import struct
import sys

SPREAD = 0.05


def draw(tensor):
    """The tensor's numbers as bytes; each tensor has its own seed, its name."""
    name, shape = tensor["name"], tensor["shape"]
    generator = random.Random(f"simplenet gpu-check {name}")
    count = math.prod(shape)
    sigma = math.sqrt(1 / math.prod(shape[1:])) if len(shape) > 1 else SPREAD
    numbers = array.array("f", (generator.gauss(0, sigma) for _ in range(count)))
    if len(shape) == 1 and name.endswith((".weight", ".running_var")):
        numbers = array.array("f", map(math.exp, numbers))
    if sys.byteorder != "little":
        numbers.byteswap()
    return numbers.tobytes()


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1]) as file:
        tensors = json.load(file)["tensors"]
    with multiprocessing.Pool() as pool:
        contents = pool.map(draw, tensors, chunksize=1)
    header, at = {}, 0
    for tensor, content in zip(tensors, contents):
        end = at + len(content)
        header[tensor["name"]] = {"dtype": "F32", "shape": tensor["shape"], "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    with open(sys.argv[2], "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for content in contents:
            file.write(content)
    print(f"{sys.argv[2]}: {len(tensors)} tensors, {at / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
