"""The common frames that every reader is given: made once, kept as plain files that any environment with numpy opens.

A step is three JPEGs of 224×224 at quality 95 (about 17 kB each), a state and an action of 14 numbers; a sample adds
the chunk of the next 50 actions, the last one repeated past an episode's end.
"""
# Legend: T steps of an episode, N steps of all, D dimensions of state and action, H steps of a chunk.

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CAMERAS, SIZE, DIMS, CHUNK = 3, 224, 14, 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Steps:
    """One episode: its pictures by step and camera, its numbers by step."""

    jpegs: list[tuple[bytes, ...]]
    state_TD: NDArray[np.float32]
    action_TD: NDArray[np.float32]

    def chunk(self, step: int) -> NDArray[np.float32]:
        """The H actions from this step on."""
        return self.action_TD[np.minimum(step + np.arange(CHUNK), len(self.action_TD) - 1)]

    def samples(self) -> Iterator[tuple[tuple[bytes, ...], bytes]]:
        """Per step its JPEGs and its numbers (state, then chunk) as bytes of float32."""
        for step, jpegs in enumerate(self.jpegs):
            yield jpegs, self.state_TD[step].tobytes() + self.chunk(step).tobytes()


class Frames:
    """The episodes of a folder that `make` has written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lengths = np.load(folder / "lengths.npy")

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[Steps]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Steps:
        """One episode."""
        first = int(self.lengths[:number].sum())
        last = first + int(self.lengths[number])
        ends = np.load(self.folder / "ends.npy", mmap_mode="r")
        pictures = np.memmap(self.folder / "pictures.bin", np.uint8, "r")
        spans = [(ends[place], ends[place + 1]) for place in range(first * CAMERAS, last * CAMERAS)]
        jpegs = [pictures[start:stop].tobytes() for start, stop in spans]
        return Steps(
            jpegs=[tuple(jpegs[place : place + CAMERAS]) for place in range(0, len(jpegs), CAMERAS)],
            state_TD=np.load(self.folder / "state.npy", mmap_mode="r")[first:last],
            action_TD=np.load(self.folder / "action.npy", mmap_mode="r")[first:last],
        )


def make(folder: Path, *, episodes: int, steps: int) -> None:
    """Write episodes whose cameras see a still, textured scene in which a square moves, through sensor noise."""
    import simplejpeg  # noqa: PLC0415  only the environment that makes them has it

    random = np.random.default_rng(0)
    folder.mkdir(parents=True)
    ends = [0]
    with (folder / "pictures.bin").open("wb") as file:
        for _ in range(episodes):
            scenes = [_scene(random) for _ in range(CAMERAS)]
            for step in range(steps):
                for scene in scenes:
                    jpeg = simplejpeg.encode_jpeg(_seen(scene, step, random), quality=95, colorsubsampling="420")
                    file.write(jpeg)
                    ends.append(ends[-1] + len(jpeg))
    walk = random.normal(0, 0.01, (2, episodes, steps, DIMS)).cumsum(axis=2).astype(np.float32)
    np.save(folder / "ends.npy", np.asarray(ends))
    np.save(folder / "state.npy", walk[0].reshape(-1, DIMS))
    np.save(folder / "action.npy", walk[1].reshape(-1, DIMS))
    np.save(folder / "lengths.npy", np.full(episodes, steps))


def _scene(random: np.random.Generator) -> NDArray[np.float32]:
    """Shading, blocks with edges and fine texture, as a table with objects has."""
    shade = np.linspace(40, 160, SIZE)[:, None, None] + np.linspace(0, 40, SIZE)[None, :, None]
    blocks = np.kron(random.integers(-40, 40, (14, 14, 3)), np.ones((16, 16, 1)))
    return (shade + blocks + random.normal(0, 3.5, (SIZE, SIZE, 3))).astype(np.float32)


def _seen(scene: NDArray[np.float32], step: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """The scene at a step: a square has moved by two pixels, and the sensor adds noise of 2.5 levels."""
    pixels = scene + random.normal(0, 2.5, (SIZE, SIZE, 1)).astype(np.float32)
    at = 2 * step % (SIZE - 48)
    pixels[80:128, at : at + 48] += 50
    return np.clip(pixels, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    make(Path(sys.argv[1]), episodes=int(sys.argv[2]), steps=int(sys.argv[3]))
