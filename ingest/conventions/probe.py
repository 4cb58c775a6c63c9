"""The probe: a few episodes of a source, read before all others, so that nothing is committed of what is wrong.

They are spread evenly over what is to be taken, so that the same plan always has the same probe. A worker hands back
numbers only; what cannot be read says nothing here and is accounted for when its bundle is run.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ingest.bundle import Job, convert, read
from ingest.conventions.checks import Measures, gather
from ingest.conventions.sample import Sample
from ingest.plan import Plan, PlannedBundle
from ingest.standard_pictures import see_nothing
from schema.commit import Bundle
from schema.errors import RobomixError
from schema.picture import ImageSettings

PROBE_EPISODES = 32
"""The most that are read; all of a smaller source. Half as many do not see how things are held on Bridge."""
_PICTURES = ImageSettings(quality=100)
"""At 100 a JPEG keeps small changes; one of the source that fits passes as it is, without another encoding."""


def probes(plan: Plan) -> list[PlannedBundle]:
    """The episodes to look at, each as a bundle of its own."""
    pairs = [pair for b in plan.bundles for pair in zip(b.records, b.source_keys, strict=True)]
    sound = [(record, key) for record, key in pairs if record.problem is None]
    chosen = np.unique(np.linspace(0, len(sound) - 1, min(len(sound), PROBE_EPISODES)).round().astype(int))
    return [
        PlannedBundle(bundle_id=f"{plan.plan_id}/probe-{index}", records=(record,), source_keys=(key,))
        for index, (record, key) in ((int(index), sound[index]) for index in chosen)
    ]


def probe(job: Job, bundle: PlannedBundle) -> Bundle:
    """What the bundle's episodes say of their conventions, in place of rows; it is never committed."""
    said = []
    job = replace(job, settings=_PICTURES)
    for record in bundle.records:
        try:
            episode = convert(job, read(job, record), record, see=see_nothing)
        except (RobomixError, OSError, ValueError, ArithmeticError, EOFError, MemoryError):
            continue
        except Exception as error:
            error.add_note(f"while probing record {record.index} ({record.files[0]})")
            raise
        said.append({"measures": gather(Sample.of(episode))})
    return Bundle(bundle_id=bundle.bundle_id, episodes=tuple(said))


def measures_of(results: Sequence[tuple[PlannedBundle, Bundle]]) -> list[Measures]:
    """What the probed episodes said, in the order of the source, whichever ended first."""
    ordered = sorted(results, key=lambda pair: pair[0].records[0].index)
    return [row["measures"] for _, bundle in ordered for row in bundle.episodes]
