"""Megatron Energon: webdataset shards with its own index, a crude dataset that is cooked by our decoder, savable."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from frames import CAMERAS, Frames
from megatron.energon import (
    Cooker,
    DefaultTaskEncoder,
    Sample,
    WorkerConfig,
    basic_sample_keys,
    edataclass,
    get_savable_loader,
    get_train_dataset,
    stateless,
)
from serve import BATCH, serve
from torch_samples import TorchReader, unpack
from with_webdataset import write as write_shards


def write(frames: Frames, to: Path) -> None:
    """The shards of webdataset, indexed by `energon prepare`."""
    write_shards(frames, to)
    words = ["prepare", "--non-interactive", "--split-ratio", "1,0,0", "--sample-type", "CrudeWebdataset", str(to)]
    subprocess.run([Path(sys.executable).parent / "energon", *words, "--num-workers", "1"], check=True)


@edataclass
class Decoded(Sample):  # type: ignore[misc, unused-ignore]
    """One sample."""

    pictures: torch.Tensor
    state: torch.Tensor
    chunk: torch.Tensor


@stateless
def _cook(record: dict[str, Any]) -> Decoded:
    jpegs = [record[f"{camera}.jpg"] for camera in range(CAMERAS)]
    return Decoded(**basic_sample_keys(record), **unpack(jpegs, record["numbers.bin"]))


class Encoder(DefaultTaskEncoder):  # type: ignore[misc, unused-ignore]
    """Bytes as they are stored, then decoded by the cooker."""

    decoder = None
    cookers = (Cooker(_cook),)


class EnergonReader(TorchReader):
    """Its savable loader, which repeats by itself."""

    def numbers(self, batch: Any) -> bytes:
        """The states, to tell batches apart."""
        found: bytes = batch.state.numpy().tobytes()
        return found

    def state(self) -> Any:
        """The state of this rank."""
        return self.loader.save_state_rank()


def open_reader(data: Path, workers: int, state: Any) -> EnergonReader:
    """A shuffle buffer of 1,000 as webdataset has, sequences of 100 samples as its documentation begins with."""
    dataset = get_train_dataset(
        data,
        worker_config=WorkerConfig(rank=0, world_size=1, num_workers=workers),
        batch_size=BATCH,
        batch_drop_last=True,
        shuffle_buffer_size=1000,
        max_samples_per_sequence=100,
        task_encoder=Encoder(),
    )
    loader = get_savable_loader(dataset)
    if state is not None:
        loader.restore_state_rank(state)
    return EnergonReader(loader)


if __name__ == "__main__":
    serve(write=write, open_reader=open_reader)
