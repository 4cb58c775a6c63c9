"""How many pictures a second one core paints, for each robot and camera: `python benchmarks/render.py`.

`stream` draws a recorded episode, as the recorders do; `closed loop` asks a world for one picture at a time, as a
policy does. Times are processor time of one thread, the best of some repeats.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fleet.episode import simulate
from fleet.renderer import Renderer
from fleet.robots import ROBOTS
from fleet.world import World

_CLOSED_LOOP_PICTURES = 150


def images_per_second(paint: Callable[[], int], *, repeats: int) -> float:
    """Best rate of a function that paints and returns how many pictures it painted."""
    best = 0.0
    for _ in range(repeats):
        start = time.process_time()
        num_images = paint()
        best = max(best, num_images / (time.process_time() - start))
    return best


def main() -> None:
    """Print a line per robot and camera."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    size = options.image_size
    print(
        f"{'robot':<18}{'camera':<14}{'stream':>10}{'closed loop':>14}   pictures of {size}x{size} per second and core"
    )
    for robot in ROBOTS.values():
        episode = simulate(robot, seed=0, index=0)
        world = World(robot, episode.scene, image_size=size)
        for camera in robot.cameras:
            renderer = Renderer(robot, episode.scene, camera=camera.name, height=size, width=size)

            def stream(renderer: Renderer = renderer) -> int:
                return sum(1 for _ in renderer.frames(episode.trajectory))  # noqa: B023

            def closed_loop(name: str = camera.name) -> int:
                for _ in range(_CLOSED_LOOP_PICTURES):
                    world.observe(name)  # noqa: B023
                return _CLOSED_LOOP_PICTURES

            rates = [images_per_second(paint, repeats=options.repeats) for paint in (stream, closed_loop)]
            print(f"{robot.name:<18}{camera.name:<14}{rates[0]:>10.0f}{rates[1]:>14.0f}")


if __name__ == "__main__":
    main()
