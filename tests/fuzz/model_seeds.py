"""Writes the smallest model files that the format has, as seeds for the target model_file. In: the embedded backbone's file.
Out: tests/fuzz/seeds/model_file. From the repository's root: python3 tests/fuzz/model_seeds.py"""

import hashlib
import json
import random
import struct

DIM, HIDDEN = 24, 2
OUT = "tests/fuzz/seeds/model_file/"
BYTES = {"I64": 8, "F32": 4, "F16": 2, "U8": 1}


def backbone():
    """The tensors of EfficientNet-Lite0 up to level 1, (type, shape, bytes) by name."""
    with open("crates/simplenet-model/assets/efficientnet_lite0.f16.safetensors", "rb") as file:
        source = file.read()
    length = struct.unpack("<Q", source[:8])[0]
    found = {}
    for name, entry in json.loads(source[8 : 8 + length]).items():
        deeper = name.startswith("_blocks.") and int(name.split(".")[1]) > 2
        if name != "__metadata__" and not deeper:
            begin, end = entry["data_offsets"]
            content = source[8 + length + begin : 8 + length + end]
            found["backbone." + name] = (entry["dtype"], entry["shape"], content)
    return found


def drawn(rng, shape, centre=0.0, deviation=0.3):
    count = 1
    for side in shape:
        count *= side
    values = [rng.gauss(centre, deviation) for _ in range(count)]
    return "F32", list(shape), struct.pack(f"<{count}f", *values)


def head():
    rng = random.Random(0)
    norm = "discriminator.body.block1.1."
    return {
        "pre_projection.layers.0fc.weight": drawn(rng, (DIM, DIM)),
        "pre_projection.layers.0fc.bias": drawn(rng, (DIM,)),
        "discriminator.body.block1.0.weight": drawn(rng, (HIDDEN, DIM)),
        "discriminator.body.block1.0.bias": drawn(rng, (HIDDEN,)),
        norm + "weight": drawn(rng, (HIDDEN,), 1, 0.1),
        norm + "bias": drawn(rng, (HIDDEN,)),
        norm + "running_mean": drawn(rng, (HIDDEN,)),
        norm + "running_var": drawn(rng, (HIDDEN,), 1, 0.1),
        norm + "num_batches_tracked": ("I64", [], struct.pack("<q", 3)),
        "discriminator.tail.weight": drawn(rng, (1, HIDDEN)),
        "feature_norm.mean": drawn(rng, (DIM,)),
        "feature_norm.scale": drawn(rng, (DIM,), 1, 0.1),
    }


RECORD = {
    "format_version": 4,
    "content_sha256": "0" * 64,
    "created_by": "fuzz seed",
    "backbone": "efficientnet-lite0",
    "backbone_sha256": "ab" * 32,
    "levels": [1],
    "aggregator": {"patch_size": 3, "reduction": "channel-mean"},
    "adaptor": {"dim": DIM, "layers": 1},
    "discriminator": {
        "dim": DIM,
        "hidden": HIDDEN,
        "leaky_slope": 0.2,
        "norm_epsilon": 1e-5,
        "norm_momentum": 0.1,
    },
    "position": None,
    "anomaly_map": {"sigma": 4.0, "truncate": 4.0},
    "image_score": {"largest-mean": 3},
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "preprocessing": {"resize": {"exact": {"width": 32, "height": 32}}},
    "training": {"seed": 7},
    "threshold": {
        "value": 0.1,
        "map_value": 0.07,
        "target_false_reject_rate": 0.01,
        "held_out": 20,
        "review": None,
    },
    "calibrated_by": None,
    "display_range": [0.0, 1.0],
    "normal_score_quantiles": [[0.5, -0.3]],
    "activation_ranges": None,
    "goldens": [{"tensor": "golden.0.rgb", "input": {"width": 8, "height": 8}, "image_score": 0.25}],
}


def write(name, tensors):
    """A model file with the hash that docs/reference/files.md describes."""
    text = json.dumps(RECORD, separators=(",", ":"))
    digest = hashlib.sha256()

    def field(content):
        digest.update(struct.pack("<Q", len(content)) + content)

    field(text.encode())
    for tensor in sorted(tensors):
        kind, shape, content = tensors[tensor]
        field(tensor.encode())
        field(kind.encode())
        field(b"".join(struct.pack("<Q", side) for side in shape))
        field(content)
    text = text.replace("0" * 64, digest.hexdigest(), 1)
    header, body = {"__metadata__": {"simplenet": text}}, b""
    for tensor in sorted(tensors, key=lambda tensor: (-BYTES[tensors[tensor][0]], tensor)):
        kind, shape, content = tensors[tensor]
        offsets = [len(body), len(body) + len(content)]
        header[tensor] = {"dtype": kind, "shape": shape, "data_offsets": offsets}
        body += content
    start = json.dumps(header, separators=(",", ":")).encode()
    start += b" " * (-len(start) % 8)
    with open(OUT + name, "wb") as file:
        file.write(struct.pack("<Q", len(start)) + start + body)


golden = {"golden.0.rgb": ("U8", [3, 8, 8], bytes(range(192)))}
write("level1.safetensors", {**backbone(), **head(), **golden})
write("record_only.safetensors", golden)
