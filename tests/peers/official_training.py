#!/usr/bin/env python3
"""Times the official SimpleNet training loop in PyTorch on this machine.

In: nothing but torch and torchvision (random weights; arithmetic does not care). Out: one JSON line: seconds of a step's
two halves, and what 160 epochs over N images come to. A few steps are timed and multiplied: the whole takes hours.

The loop is that of the official code's MVTec script, written down again: batches of 8 images at 288x288, each epoch the
frozen WideResNet-50-2 in evaluation mode through layer4 (which nothing uses), layer2 and layer3 unfolded in 3x3
neighbourhoods, pooled to 1536 numbers each, stacked and pooled to 1536; linear adaptor; noise of deviation 0.015;
discriminator of 1024 hidden units with batch norm over both kinds of features; truncated L1; AdamW and Adam. Its evaluation
on the test set after every fourth epoch is left out, in the official code's favour.

    pip install torch torchvision
    python tests/peers/official_training.py --images 209 --steps 4
"""

import argparse
import json
import statistics
import time

import torch
import torchvision
from torch import nn
from torch.nn import functional

BATCH, SIDE, WIDTH, HIDDEN, EPOCHS = 8, 288, 1536, 1024, 160
SIGMA, MARGIN = 0.015, 0.5


class Extractor(nn.Module):
    """Images (B, 3, H, W) to patch features (B h w, 1536)."""

    def __init__(self):
        super().__init__()
        self.backbone = torchvision.models.wide_resnet50_2(weights=None).eval()

    def taps(self, x):
        net = self.backbone
        x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        layer2 = net.layer2(net.layer1(x))
        layer3 = net.layer3(layer2)
        net.layer4(layer3)
        return layer2, layer3

    @staticmethod
    def patches(features):
        """(B, C, h, w) -> (B, h w, C, 3, 3) and the grid."""
        b, c, h, w = features.shape
        unfolded = functional.unfold(features, 3, padding=1)
        return unfolded.reshape(b, c, 3, 3, h * w).permute(0, 4, 1, 2, 3), (h, w)

    @torch.no_grad()
    def forward(self, x):
        (first, grid), (second, coarse) = map(self.patches, self.taps(x))
        b, _, c, _, _ = second.shape
        planes = second.reshape(b, *coarse, c, 3, 3).permute(0, 3, 4, 5, 1, 2).reshape(-1, 1, *coarse)
        planes = functional.interpolate(planes, size=grid, mode="bilinear", align_corners=False)
        second = planes.reshape(b, c, 3, 3, -1).permute(0, 4, 1, 2, 3)
        pooled = [
            functional.adaptive_avg_pool1d(layer.reshape(-1, 1, layer.shape[2] * 9), WIDTH).squeeze(1)
            for layer in (first, second)
        ]
        stacked = torch.stack(pooled, dim=1).reshape(len(pooled[0]), 1, -1)
        return functional.adaptive_avg_pool1d(stacked, WIDTH).squeeze(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=209)
    parser.add_argument("--steps", type=int, default=4, help="steps that are timed, after one that is not")
    args = parser.parse_args()

    extractor = Extractor()
    adaptor = nn.Linear(WIDTH, WIDTH)
    discriminator = nn.Sequential(
        nn.Linear(WIDTH, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.LeakyReLU(0.2), nn.Linear(HIDDEN, 1, bias=False)
    )
    of_adaptor = torch.optim.AdamW(adaptor.parameters(), 1e-4)
    of_discriminator = torch.optim.Adam(discriminator.parameters(), 2e-4, weight_decay=1e-5)

    features_s, head_s = [], []
    for _ in range(args.steps + 1):
        images = torch.randn(BATCH, 3, SIDE, SIDE)
        start = time.perf_counter()
        features = extractor(images)
        middle = time.perf_counter()
        normal = adaptor(features)
        anomalous = normal + torch.randn_like(normal) * SIGMA
        scores = discriminator(torch.cat([normal, anomalous]))
        of_normal, of_anomalous = scores[: len(normal)], scores[len(normal) :]
        loss = functional.relu(MARGIN - of_normal).mean() + functional.relu(MARGIN + of_anomalous).mean()
        of_adaptor.zero_grad()
        of_discriminator.zero_grad()
        loss.backward()
        of_adaptor.step()
        of_discriminator.step()
        features_s.append(middle - start)
        head_s.append(time.perf_counter() - middle)
    features, head = statistics.median(features_s[1:]), statistics.median(head_s[1:])
    steps = -(-args.images // BATCH) * EPOCHS
    result = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "features_s_per_step": round(features, 3),
        "head_s_per_step": round(head, 3),
        "steps": steps,
        "training_hours": round(steps * (features + head) / 3600, 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
