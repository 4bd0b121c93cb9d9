#!/usr/bin/env python3
"""Compares `simplenet import` and `simplenet export --format pth` with the official network in PyTorch.

    python3 -m venv .venv && .venv/bin/pip install -r tests/peers/requirements-onnx.txt
    cargo build -p simplenet-cli
    .venv/bin/python tests/peers/official_peers.py --simplenet target/debug/simplenet [--side 128]

In: the program. The network is the official code's, written down again: torchvision's wide_resnet50_2 (random weights, with
batch norms drawn too), layer2 and layer3 unfolded in 3x3 neighbourhoods and pooled to 1536 numbers, the adaptor, the
discriminator under their official names, the largest patch score, and the map: bilinear, then SciPy's Gaussian of sigma 4.
Out: a line for each comparison; exit code 1 where one does not hold.

- `torch.save` writes ckpt.pth as the official training routine does; `simplenet import` and `infer` then give, on photographs
  that torchvision's transforms (shorter side, centre crop) prepare for the official network, its image scores and maps within
  1e-4 · max(1, largest |score| or |map|). So do a checkpoint without adaptor (--pre_proj 0), and one of the whole module.
- `simplenet export --format pth` gives a file that torch.load reads with weights_only=True, also mapped, and whose tensors are
  those that went in, bit for bit; the modules load it strictly.
- The head of a model trained here with scaled features, exported, gives on the model's own features the model's scores: checked
  by importing it again.
- A checkpoint that would run code when unpickled is refused or read without running it.
"""

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
import torchvision
from checks import PROBLEMS, check, close
from official_training import Extractor
from PIL import Image
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter
from torch import nn
from torch.nn import functional
from torchvision import transforms

WIDTH, HIDDEN = 1536, 1024
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

# --------------------------------------------------------------------------------------------------- official


class Projection(nn.Module):
    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(OrderedDict((f"{i}fc", nn.Linear(WIDTH, WIDTH)) for i in range(layers)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class Discriminator(nn.Module):
    def __init__(self, hidden: int = HIDDEN, width: int = WIDTH) -> None:
        super().__init__()
        block = nn.Sequential(nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.LeakyReLU(0.2))
        self.body = nn.Sequential(OrderedDict(block1=block))
        self.tail = nn.Linear(hidden, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.tail(self.body(x))


def draw_norms(module: nn.Module) -> None:
    """Statistics of fresh batch norms do nothing; drawn ones show whether they are used."""
    for part in module.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(part.weight, 0.8, 1.2)
            nn.init.normal_(part.bias, 0, 0.1)
            nn.init.uniform_(part.running_var, 0.8, 1.2)
            nn.init.normal_(part.running_mean, 0, 0.1)
            part.num_batches_tracked.fill_(17)


class Official:
    def __init__(self, projection_layers: int) -> None:
        self.extractor = Extractor().eval()
        draw_norms(self.extractor)
        # As deep networks end up, a block's last norm is small: sums of sixteen blocks stay in range.
        for name, part in self.extractor.named_modules():
            if name.endswith("bn3"):
                part.weight.data *= 0.3
        self.projection = Projection(projection_layers) if projection_layers else None
        self.discriminator = Discriminator()
        draw_norms(self.discriminator)

    @torch.no_grad()
    def predict(self, images: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """(B, 3, H, W), normalised -> image scores (B) and maps (B, H, W)."""
        self.discriminator.eval()
        features = self.extractor(images)
        if self.projection is not None:
            features = self.projection(features)
        grid = [-(-side // 8) for side in images.shape[2:]]
        patches = -self.discriminator(features).reshape(len(images), 1, *grid)
        scores = patches.amax((1, 2, 3)).numpy()
        maps = functional.interpolate(patches, size=images.shape[2:], mode="bilinear", align_corners=False)
        return scores, np.stack([gaussian_filter(one, sigma=4) for one in maps.squeeze(1).numpy()])

    def checkpoint(self) -> dict[str, OrderedDict]:
        state = {"discriminator": OrderedDict(self.discriminator.state_dict())}
        if self.projection is not None:
            state["pre_projection"] = OrderedDict(self.projection.state_dict())
        return state

    def whole(self) -> OrderedDict:
        """The older form: the state of the whole module."""
        parts = {"discriminator": self.discriminator, "backbone": self.extractor.backbone}
        if self.projection is not None:
            parts["pre_projection"] = self.projection
        return OrderedDict((f"{p}.{k}", v) for p, part in parts.items() for k, v in part.state_dict().items())


# ------------------------------------------------------------------------------------------------------- ours


def run(program: Path, *arguments: object, fails: bool = False) -> str:
    line = [str(program), *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    if bool(done.returncode) != fails:
        sys.exit(f"{' '.join(line)}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def infer(program: Path, model: Path, photographs: list[Path], out: Path) -> tuple[np.ndarray, list[np.ndarray]]:
    flags = [flag for path in photographs for flag in ("--input", path)]
    run(program, "infer", "--model", model, *flags, "--output", out, "--map-format", "npy", "--device", "cpu")
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    by_name = {Path(line["path"]).name: line for line in lines}
    lines = [by_name[path.name] for path in photographs]
    return np.array([line["score"] for line in lines]), [np.load(out / line["anomaly_map"]) for line in lines]


def draw(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    folder.mkdir()
    rng = np.random.default_rng(5)
    ys, xs = np.mgrid[: size[1], : size[0]]
    paths = []
    for index in range(count):
        waves = [np.sin(xs * rng.uniform(0.02, 0.2) + ys * rng.uniform(0.02, 0.2)) for _ in range(3)]
        picture = 128 + 70 * np.stack(waves, -1) + rng.normal(0, 10, (*ys.shape, 3))
        paths.append(folder / f"{index}.png")
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(paths[-1])
    return paths


class Unpickled:
    """What a hostile file holds: unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simplenet", required=True, type=Path, metavar="PROGRAM")
    parser.add_argument("--side", type=int, default=128, help="of the centre crop (the official script: 288)")
    arguments = parser.parse_args()
    program, side = arguments.simplenet.resolve(), arguments.side
    shorter = round(side * 329 / 288)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photographs = draw(folder / "photographs", 3, (side + 90, side + 60))
        settings = folder / "size.toml"
        settings.write_text(
            f"[preprocess]\nresize = {{ shorter_side = {shorter} }}\ncrop = {{ width = {side}, height = {side} }}\n"
        )
        prepare = transforms.Compose(
            [transforms.Resize(shorter), transforms.CenterCrop(side), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        )
        images = torch.stack([prepare(Image.open(path)) for path in photographs])
        # The official map lies on the crop; `infer` writes it in the photograph's pixels. Photographs of the resized size have
        # both in the same pixels.
        flat = [folder / "flat" / path.name for path in photographs]
        (folder / "flat").mkdir()
        for path, to in zip(photographs, flat, strict=True):
            transforms.Resize(shorter)(Image.open(path)).save(to)

        for layers, form in ((1, "checkpoint"), (2, "checkpoint"), (0, "checkpoint"), (1, "whole module")):
            print(f"{form}, {layers} adaptor layer(s)", flush=True)
            official = Official(layers)
            backbone = {k: v for k, v in official.extractor.backbone.state_dict().items() if not k.startswith(("layer4", "fc"))}
            save_file(backbone, folder / "backbone.safetensors")
            file = folder / "ckpt.pth"
            torch.save(official.checkpoint() if form == "checkpoint" else official.whole(), file)
            model = folder / "model.safetensors"
            line = ["import", "--checkpoint", file, "--backbone", "wide-resnet50-2", "--out", model]
            run(program, *line, "--weights", folder / "backbone.safetensors", "--config", settings)
            want_scores, want_maps = official.predict(images)
            scores, _ = infer(program, model, photographs, folder / "infer")
            close(scores, want_scores, "image scores, official and imported")
            _, maps = infer(program, model, flat, folder / "infer-flat")
            rows = [np.flatnonzero(~np.isnan(whole).all(axis=1)) for whole in maps]
            columns = [np.flatnonzero(~np.isnan(whole).all(axis=0)) for whole in maps]
            maps = np.stack([m[r[0] : r[-1] + 1, c[0] : c[-1] + 1] for m, r, c in zip(maps, rows, columns, strict=True)])
            close(maps, want_maps, "anomaly maps, official and imported")

            back = folder / "back.pth"
            run(program, "export", "--model", model, "--format", "pth", "--out", back)
            read = torch.load(back, map_location="cpu", weights_only=True)
            mapped = torch.load(back, map_location="cpu", weights_only=True, mmap=True)
            state = official.checkpoint()
            same = read.keys() == state.keys() == mapped.keys() and all(
                list(read[part]) == list(state[part])
                and all(torch.equal(read[part][k], v) and torch.equal(mapped[part][k], v) for k, v in state[part].items())
                and all(read[part][k].dtype == v.dtype for k, v in state[part].items())
                for part in state
            )
            check(same, "what was exported is what was imported, bit for bit")
            Discriminator().load_state_dict(read["discriminator"])
            if layers:
                Projection(layers).load_state_dict(read["pre_projection"])
            check(not layers or "pre_projection" in read, "the modules load it")

        print("a model trained here, with scaled features", flush=True)
        (folder / "own.toml").write_text(
            'position = "unaware"\nimage_score = "largest"\nfeature_scale = "per-dimension"\nepochs = 2\nhidden = 16\n'
            "[calibration]\nheld_out_share = 0.0\n"
            '[aggregator]\nreduction = { adaptive-pool = { pretrain_dim = 96, target_dim = 64 } }\n'
        )
        own = ["--config", folder / "own.toml", "--size", side, "--out", folder / "own", "--no-feature-cache"]
        run(program, "train", "--normal", folder / "photographs", *own)
        run(program, "export", "--model", folder / "own/model.safetensors", "--format", "pth", "--out", folder / "own.pth")
        state = torch.load(folder / "own.pth", weights_only=True)
        width, hidden = state["pre_projection"]["layers.0fc.weight"].shape[0], 16 * 8
        Discriminator(hidden, width).load_state_dict(state["discriminator"])
        (folder / "back.toml").write_text(
            "[aggregator]\nreduction = { adaptive-pool = { pretrain_dim = 96, target_dim = 64 } }\n"
            f"[preprocess]\nresize = {{ shorter_side = {side} }}\ncrop = {{ width = {side}, height = {side} }}\n"
        )
        line = ["import", "--checkpoint", folder / "own.pth", "--backbone", "efficientnet-lite0", "--config", folder / "back.toml"]
        run(program, *line, "--out", folder / "back.safetensors")
        square = draw(folder / "square", 2, (side, side))
        want, _ = infer(program, folder / "own/model.safetensors", square, folder / "infer-own")
        got, _ = infer(program, folder / "back.safetensors", square, folder / "infer-back")
        close(got, want, "image scores before and after")

        print("a file that would run code", flush=True)
        made = folder / "made-by-unpickling"
        torch.save({**official.checkpoint(), "extra": Unpickled(made)}, folder / "hostile.pth")
        line = [program, "import", "--checkpoint", folder / "hostile.pth", "--weights", folder / "backbone.safetensors"]
        done = subprocess.run(
            [*line, "--config", settings, "--out", folder / "hostile.safetensors"], capture_output=True, text=True
        )
        check(not made.exists() and done.returncode in (0, 1), f"nothing was run (exit code {done.returncode})")
        pickle.loads(pickle.dumps(Unpickled(made)))
        check(made.exists(), "Python's own unpickling would have run it")
    for problem in PROBLEMS:
        print(f"FAILED: {problem}")
    print(f"{len(PROBLEMS)} failures")
    return 1 if PROBLEMS else 0


if __name__ == "__main__":
    sys.exit(main())
