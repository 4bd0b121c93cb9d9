#!/usr/bin/env python3
"""Reads the event files of a training with TensorBoard's own reader and checks them.

    python3 -m venv .venv && .venv/bin/pip install -r tests/peers/requirements-tensorboard.txt
    simplenet train --normal photographs/good --out results/part --tensorboard
    .venv/bin/python tests/peers/tensorboard_peers.py results/part

Checked, with exit code 1 where it does not hold: the five curves are there; every step is there once, from 1 on, without a
gap, also after interruptions (TensorBoard drops what an interrupted run has taken beyond the state that the next one went on
from); the mean loss of each epoch is that of training.json to 1e-6 (curves are f32); shares lie between 0 and 1.
"""

import json
import pathlib
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

CURVES = {
    "training/loss",
    "training/p_true",
    "training/p_fake",
    "rate/adaptor",
    "rate/discriminator",
}


def main(out: pathlib.Path) -> int:
    losses = json.loads((out / "training.json").read_text())["losses"]
    # 0: keep every point.
    events = EventAccumulator(str(out / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    problems = []
    # The reader turns simple values into tensors in newer versions; either is right.
    scalars, tensors = set(events.Tags()["scalars"]), set(events.Tags()["tensors"])
    if scalars | tensors != CURVES:
        problems.append(f"curves are {sorted(scalars | tensors)}, not {sorted(CURVES)}")
        losses = []
    points = {}
    for name in CURVES & scalars:
        points[name] = [(event.step, event.value) for event in events.Scalars(name)]
    for name in CURVES & tensors:
        points[name] = [(event.step, event.tensor_proto.float_val[0]) for event in events.Tensors(name)]
    for name, curve in points.items():
        if [step for step, _ in curve] != list(range(1, len(curve) + 1)):
            problems.append(f"{name}: steps are not 1 to {len(curve)}, each once")
        if name.startswith("training/p_") and not all(0 <= value <= 1 for _, value in curve):
            problems.append(f"{name}: a share outside 0 to 1")
    if losses:
        curve = [value for _, value in points["training/loss"]]
        each, rest = divmod(len(curve), len(losses))
        if rest:
            problems.append(f"{len(curve)} steps in {len(losses)} epochs")
        for epoch, want in enumerate(losses):
            got = sum(curve[epoch * each : (epoch + 1) * each]) / each
            if abs(got - want) > 1e-6 * max(1.0, abs(want)):
                problems.append(f"epoch {epoch + 1}: mean loss {got}, {want} in training.json")
        last = {name: curve[-1][1] for name, curve in points.items()}
        print(f"{len(curve)} steps, {len(losses)} epochs; at the end {last}")
    for problem in problems:
        print(f"problem: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
