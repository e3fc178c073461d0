"""Learn the 1797 handwritten digits that scikit-learn ships, with a training loop written by hand.

Run ``python examples/digits.py [picture.png]`` (needs ``pip install rustgrad[examples]``). It prints a
progress bar, the loss curve as text and the share of held-out digits read correctly, and saves the curve.
"""

from __future__ import annotations

import struct
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import rustgrad as torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits

HELD_OUT = 360
HIDDEN = 256
EPOCHS = 64
BATCH = 64
RATE = 2e-3
DECAY = 1e-2
BACKGROUND = -0.3


def load() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return pixels and labels to learn from, then those held out, in a fixed random order."""
    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels.astype(np.float32)) / 16 + BACKGROUND
    targets = torch.from_numpy(labels.astype(np.int64))
    order = torch.randperm(len(targets))
    images, targets = images[order], targets[order]
    return images[HELD_OUT:], targets[HELD_OUT:], images[:HELD_OUT], targets[:HELD_OUT]


def shifts() -> list[torch.Tensor]:
    """Return, for the picture and its moves by one pixel each way, which pixel lands where (64: none)."""
    grid = np.pad(np.arange(64).reshape(8, 8), 1, constant_values=64)
    moves = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))
    return [torch.from_numpy(grid[down : down + 8, right : right + 8].reshape(64).copy()) for down, right in moves]


def make_parameters() -> list[torch.Tensor]:
    """Return weights and biases of two layers; weights are scaled to keep the spread of their input."""
    parameters = []
    for fan_in, fan_out in ((64, HIDDEN), (HIDDEN, 10)):
        parameters.append(torch.randn(fan_in, fan_out) * (2 / fan_in) ** 0.5)
        parameters.append(torch.zeros(fan_out))
    return [parameter.requires_grad_() for parameter in parameters]


def predict(parameters: list[torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """Return ten scores for each image."""
    weight1, bias1, weight2, bias2 = parameters
    return (images @ weight1 + bias1).relu() @ weight2 + bias2


def cross_entropy(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean negative log-probability of the right digits."""
    return -scores.log_softmax(1).gather(1, targets.unsqueeze(1)).mean()


class Adam:
    """Adam with decoupled weight decay, as it is written in the papers."""

    def __init__(self, parameters: list[torch.Tensor]) -> None:
        self.parameters = parameters
        self.means = [torch.zeros_like(parameter) for parameter in parameters]
        self.squares = [torch.zeros_like(parameter) for parameter in parameters]
        self.steps = 0

    def step(self, rate: float) -> None:
        """Move every parameter against its gradient and clear the gradient."""
        self.steps += 1
        with torch.no_grad():
            for parameter, mean, square in zip(self.parameters, self.means, self.squares, strict=True):
                gradient = parameter.grad
                mean.mul_(0.9).add_(gradient, alpha=0.1)
                square.mul_(0.999).add_(gradient * gradient, alpha=0.001)
                size = (square / (1 - 0.999**self.steps)).sqrt() + 1e-8
                parameter.mul_(1 - rate * DECAY)
                parameter.sub_(mean / (1 - 0.9**self.steps) / size * rate)
                gradient.zero_()


def progress(done: int, total: int, text: str) -> None:
    """Draw a bar over the last one; on a terminal only."""
    if sys.stderr.isatty():
        filled = 30 * done // total
        end = "\n" if done == total else ""
        print(f"\r[{'#' * filled}{'.' * (30 - filled)}] {text}", end=end, file=sys.stderr, flush=True)


def accuracy(parameters: list[torch.Tensor], images: torch.Tensor, targets: torch.Tensor) -> float:
    """Return the share of images whose highest score is at the right digit."""
    with torch.no_grad():
        return float((predict(parameters, images).argmax(1) == targets).float().mean())


def train(images: torch.Tensor, targets: torch.Tensor) -> tuple[list[torch.Tensor], list[float]]:
    """Return the learnt parameters and the mean loss of each epoch."""
    parameters = make_parameters()
    optimiser = Adam(parameters)
    moves = shifts()
    padded = torch.cat([images, torch.full((len(targets), 1), BACKGROUND)], dim=1)
    losses = []
    for epoch in range(EPOCHS):
        rate = RATE * (1 - epoch / EPOCHS)
        total, batches = 0.0, 0
        for batch in torch.randperm(len(targets)).split(BATCH):
            move = moves[max(0, int(torch.randint(8, ())) - 3)]  # unmoved half of the time
            loss = cross_entropy(predict(parameters, padded[batch][:, move]), targets[batch])
            loss.backward()
            optimiser.step(rate)
            total, batches = total + loss.item(), batches + 1
        losses.append(total / batches)
        progress(epoch + 1, EPOCHS, f"epoch {epoch + 1}/{EPOCHS}  loss {losses[-1]:.4f}")
    return parameters, losses


def draw_text(losses: list[float], height: int = 10) -> str:
    """Return the curve as lines of text, loss on a logarithmic scale."""
    logs = np.log10(losses)
    levels = np.round((logs - logs.min()) / (np.ptp(logs) or 1) * (height - 1)).astype(int)
    lines = []
    for level in range(height - 1, -1, -1):
        mark = 10 ** (logs.min() + np.ptp(logs) * level / (height - 1))
        lines.append(f"{mark:8.4f} |" + "".join("*" if here == level else " " for here in levels))
    return "\n".join([*lines, " " * 9 + "+" + "-" * len(losses) + f" {len(losses)} epochs"])


def save_picture(losses: list[float], path: Path, width: int = 640, height: int = 400) -> None:
    """Write the curve as a PNG (logarithmic scale, a grey line at each power of ten)."""
    margin = 24
    logs = np.log10(losses)
    low, high = float(logs.min()) - 0.1, float(logs.max()) + 0.1
    columns = np.arange(margin, width - margin)
    picture = np.full((height, width, 3), 255, np.uint8)

    def row(value: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.rint(margin + (high - value) / (high - low) * (height - 2 * margin)).astype(np.int64)

    picture[row(np.arange(np.ceil(low), high)), margin : width - margin] = 208
    picture[margin : height - margin, margin] = picture[height - margin, margin : width - margin] = 64
    curve = row(np.interp(np.linspace(0, len(losses) - 1, len(columns)), np.arange(len(losses)), logs))
    for column, here, before in zip(columns, curve, np.r_[curve[:1], curve[:-1]], strict=True):
        picture[min(here, before) - 1 : max(here, before) + 2, column] = (32, 96, 192)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = b"".join(b"\0" + line.tobytes() for line in picture)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    )


def main(picture: str = "digits_loss.png") -> None:
    """Train, report, save the curve."""
    torch.manual_seed(0)
    images, targets, held_images, held_targets = load()
    start = time.perf_counter()
    parameters, losses = train(images, targets)
    seconds = time.perf_counter() - start
    save_picture(losses, Path(picture))
    print(draw_text(losses))
    print(f"trained {EPOCHS} epochs on {len(targets)} digits in {seconds:.1f} s; loss curve saved as {picture}")
    print(f"held-out accuracy: {100 * accuracy(parameters, held_images, held_targets):.2f} % of {HELD_OUT} digits")


if __name__ == "__main__":
    main(*sys.argv[1:2])
