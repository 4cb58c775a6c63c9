"""Which readers there are, and the virtual environment that each runs in, made once.

An environment that shares has a path file to the project's own packages, so that torch (gigabytes) is not installed
five times: pip then adds only what is missing or of another version, and the project's environment is left alone.
"""

import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).parent / "peers"


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """One reader."""

    name: str
    script: str
    title: str
    requires: tuple[str, ...] = ()
    """Installed with what they ask for."""
    bare: tuple[str, ...] = ()
    """Installed alone beside the project's packages: what more they ask for is a CUDA torch and clouds' clients."""
    shares: bool = True
    """Sees the project's packages."""
    is_project: bool = False
    """Runs in the project's own environment, which has it."""


SPECS = (
    Spec(name="bare_loop", script="with_bare_loop.py", title="bare loop (the limit)", is_project=True),
    Spec(name="robomix", script="with_robomix.py", title="robomix", is_project=True),
    Spec(
        name="rlds",
        script="with_rlds.py",
        title="RLDS, tf.data",
        requires=("tensorflow-cpu==2.21.0", "tensorflow-datasets==4.9.10"),
        shares=False,
    ),
    Spec(
        name="litdata",
        script="with_litdata.py",
        title="litdata",
        bare=("litdata==0.2.76", "lightning-utilities", "boto3==1.43.117", "s3transfer"),
    ),
    Spec(
        name="streaming",
        script="with_streaming.py",
        title="MosaicML Streaming",
        bare=(
            "mosaicml-streaming==0.13.0",
            "torchvision==0.28.0",
            "brotli",
            "python-snappy",
            "cramjam",
            "zstd",
            "xxhash",
            "catalogue",
        ),
    ),
    Spec(name="webdataset", script="with_webdataset.py", title="webdataset", is_project=True),
    Spec(
        name="energon",
        script="with_energon.py",
        title="Energon",
        requires=("megatron-energon==7.4.1", "xattr"),
    ),
    Spec(
        name="lerobot",
        script="with_lerobot.py",
        title="LeRobot, AV1",
        bare=("lerobot==0.4.4", "torchvision==0.28.0", "torchcodec==0.13.0"),
        requires=("datasets>=4,<5", "huggingface-hub>=0.34.2,<0.36", "accelerate", "imageio", "av<16"),
    ),
)


def python_of(spec: Spec, folder: Path) -> Path:
    """The interpreter of a reader, its environment made first; CalledProcessError where that fails."""
    if spec.is_project:
        return Path(sys.executable)
    home = folder / spec.name
    python, stamp = home / "bin" / "python", home / ".stamp"
    shared = sysconfig.get_path("purelib") if spec.shares else None
    wanted = json.dumps([spec.requires, spec.bare, shared, sys.version])
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"making the environment of {spec.title} in {home}…", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", home], check=True)
    if shared:
        own = Path(sysconfig.get_path("purelib", vars={"base": str(home)}))
        (own / "project.pth").write_text(f"{shared}\n")
    for words in (["--no-deps", *spec.bare] if spec.bare else [], spec.requires):
        if words:
            pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile", *words]
            subprocess.run(pip, check=True, stdout=sys.stderr)
    stamp.write_text(wanted)
    return python


def variables(spec: Spec, folder: Path) -> dict[str, str]:
    """The reader's environment variables: no hub, no GPU, caches inside the folder."""
    own = {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "hub"),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "CUDA_VISIBLE_DEVICES": "",
        "DATA_OPTIMIZER_CACHE_FOLDER": str(folder / "litdata-cache"),
        "PYTHONPATH": str(SCRIPTS.parent.parent) if spec.is_project else "",
    }
    return os.environ | own
