"""What the peers' scripts compare with: a line for each comparison, and a list of those that do not hold."""

import numpy as np

TOLERANCE = 1e-4
PROBLEMS: list[str] = []


def check(holds: bool, what: str) -> None:
    """Prints whether it holds, and keeps what does not."""
    print(f"  {'ok  ' if holds else 'FAIL'} {what}", flush=True)
    if not holds:
        PROBLEMS.append(what)


def close(got: np.ndarray, want: np.ndarray, what: str) -> None:
    """Holds where both have one shape and differ by at most TOLERANCE times the larger of 1 and the largest number wanted."""
    if got.shape != want.shape:
        check(False, f"{what}: shape {got.shape}, expected {want.shape}")
        return
    worst, allowed = float(np.max(np.abs(got - want))), TOLERANCE * max(1.0, float(np.max(np.abs(want))))
    check(worst <= allowed, f"{what}: off by {worst:.1e}, allowed {allowed:.1e}")  # false for NaN
