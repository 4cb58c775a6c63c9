"""RLDS through tf.data, as Octo and OpenVLA read it: episodes → chunks → flat → shuffle → decode → batch.

TensorFlow has its own JPEG decoder (libjpeg-turbo); INTEGER_FAST is its quickest documented form.
"""

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from frames import CAMERAS, CHUNK, DIMS, SIZE, Frames
from serve import BATCH, serve


class CommonFrames(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc, unused-ignore]
    """The common frames as RLDS."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, frames: Frames, data_dir: str) -> None:
        self._frames = frames
        super().__init__(data_dir=data_dir)

    def _info(self) -> tfds.core.DatasetInfo:
        picture = tfds.features.Image(shape=(SIZE, SIZE, 3), encoding_format="jpeg")
        numbers = tfds.features.Tensor(shape=(DIMS,), dtype=np.float32)
        flags = {name: tfds.features.Scalar(dtype=np.bool_) for name in ("is_first", "is_last", "is_terminal")}
        seen = {f"camera{camera}": picture for camera in range(CAMERAS)} | {"state": numbers}
        steps = {"observation": tfds.features.FeaturesDict(seen), "action": numbers, **flags}
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict({"steps": tfds.features.Dataset(steps)})
        )

    def _split_generators(self, _: Any) -> dict[str, Any]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, episode in enumerate(self._frames):
            last = len(episode.jpegs) - 1
            steps = [
                {
                    "observation": {f"camera{camera}": io.BytesIO(jpeg) for camera, jpeg in enumerate(jpegs)}
                    | {"state": episode.state_TD[step]},
                    "action": episode.action_TD[step],
                    "is_first": step == 0,
                    "is_last": step == last,
                    "is_terminal": step == last,
                }
                for step, jpegs in enumerate(episode.jpegs)
            ]
            yield f"{number:06d}", {"steps": steps}


def write(frames: Frames, to: Path) -> None:
    """By tfds, with the JPEGs as they are."""
    CommonFrames(frames=frames, data_dir=str(to)).download_and_prepare()


def _chunked(episode: dict[str, Any]) -> dict[str, Any]:
    steps = episode["steps"]
    length = tf.shape(steps["action"])[0]
    at = tf.minimum(tf.range(length)[:, None] + tf.range(CHUNK)[None], length - 1)
    return dict(steps["observation"]) | {"chunk": tf.gather(steps["action"], at)}


def _decoded(sample: dict[str, Any]) -> dict[str, Any]:
    pictures = [
        tf.io.decode_jpeg(sample[f"camera{camera}"], channels=3, dct_method="INTEGER_FAST") for camera in range(CAMERAS)
    ]
    return {"pictures": tf.stack(pictures), "state": sample["state"], "chunk": sample["chunk"]}


class TfReader:
    """An iterator of tf.data; its state is a TensorFlow checkpoint of the iterator, shuffle buffer included."""

    def __init__(self, data: Path, workers: int, state: str | None) -> None:
        parallel = workers or None
        builder = tfds.builder_from_directory(str(next(data.glob("*/1.0.0"))))
        episodes = builder.as_dataset(
            split="train",
            shuffle_files=True,
            decoders={"steps": tfds.decode.SkipDecoding()},
            read_config=tfds.ReadConfig(skip_prefetch=True, try_autocache=False, shuffle_seed=0),
        )
        samples = (
            episodes.repeat().map(_chunked, num_parallel_calls=parallel).flat_map(tf.data.Dataset.from_tensor_slices)
        )
        decoded = samples.shuffle(1000, seed=0).map(_decoded, num_parallel_calls=parallel)
        batches = decoded.batch(BATCH, drop_remainder=True, num_parallel_calls=parallel)
        options = tf.data.Options()
        options.threading.private_threadpool_size = max(1, workers)
        options.threading.max_intra_op_parallelism = 1
        self._batches = iter((batches.prefetch(2) if workers else batches).with_options(options))
        self._saved = tf.train.Checkpoint(iterator=self._batches)
        if state is not None:
            self._saved.read(state)

    def __next__(self) -> dict[str, Any]:
        batch: dict[str, Any] = next(self._batches)
        return batch

    def state(self) -> str:
        """A checkpoint's path."""
        path: str = self._saved.write(f"{tempfile.mkdtemp()}/iterator")
        return path

    def numbers(self, batch: dict[str, Any]) -> bytes:
        """The states, to tell batches apart."""
        found: bytes = batch["state"].numpy().tobytes()
        return found

    def close(self) -> None:
        """Drop the iterator, and with it its threads."""
        del self._batches, self._saved


if __name__ == "__main__":
    serve(write=write, open_reader=TfReader)
