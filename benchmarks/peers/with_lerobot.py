"""LeRobot 0.4.4 (what Python 3.11 gets): AV1 video as it records it, decoded by torchcodec, its default.

Its decoder cannot be chosen to be a JPEG's. `streaming_encoding` spares it PNG files when it writes. It gives
pictures as float32 in [0, 1] with channels first, and keeps no state.
"""

from pathlib import Path
from typing import Any

import cpu_torchvision  # noqa: F401  first
import numpy as np
import simplejpeg
from frames import CAMERAS, CHUNK, DIMS, SIZE, Frames
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from serve import BATCH, serve
from torch.utils.data import DataLoader
from torch_samples import Sample, TorchReader

FPS = 50
NAME = "benchmark/frames"


def write(frames: Frames, to: Path) -> None:
    """Decodes each JPEG and encodes the video, as a recording does."""
    numbers = {"dtype": "float32", "shape": (DIMS,), "names": None}
    picture = {"dtype": "video", "shape": (SIZE, SIZE, 3), "names": ["height", "width", "channels"]}
    pictures = {f"observation.images.camera{camera}": picture for camera in range(CAMERAS)}
    dataset = LeRobotDataset.create(
        NAME,
        fps=FPS,
        features={"observation.state": numbers, "action": numbers, **pictures},
        root=to / "dataset",
        streaming_encoding=True,
        encoder_queue_maxsize=1000,
    )
    for episode in frames:
        for step, jpegs in enumerate(episode.jpegs):
            seen = (simplejpeg.decode_jpeg(jpeg, colorspace="RGB") for jpeg in jpegs)
            dataset.add_frame(
                {
                    "task": "move the square",
                    "observation.state": np.array(episode.state_TD[step]),
                    "action": np.array(episode.action_TD[step]),
                    **dict(zip(pictures, seen, strict=True)),
                }
            )
        dataset.save_episode()
    dataset.finalize()


class LeRobotReader(TorchReader):
    """Its map-style dataset in torch's loader, shuffled."""

    def numbers(self, batch: Sample) -> bytes:
        """The states, to tell batches apart."""
        return batch["observation.state"].numpy().tobytes()


def open_reader(data: Path, workers: int, _: Any) -> LeRobotReader:
    """All frames shuffled, chunk by `delta_timestamps`."""
    chunk = [step / FPS for step in range(CHUNK)]
    dataset = LeRobotDataset(NAME, root=data / "dataset", delta_timestamps={"action": chunk})
    loader = DataLoader(
        dataset, batch_size=BATCH, shuffle=True, num_workers=workers, drop_last=True, persistent_workers=workers > 0
    )
    return LeRobotReader(loader)


if __name__ == "__main__":
    serve(write=write, open_reader=open_reader)
