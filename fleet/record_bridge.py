"""Logs as BridgeData V2 records them: a folder per trajectory with pickles, im_<t>.jpg of each view and lang.txt.

Pickles hold dicts, lists, numpy arrays and floats. There is one observation more than there are actions.
"""

import pickle
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from fleet.bridge import bridge_log, bridge_pictures
from fleet.episode import Episode
from fleet.recording import EPOCH_S, as_jpeg, json_line, whole_file
from fleet.robot import Robot

_VIEWS = {"images0": "base", "images3": "left_wrist"}
_PROTOCOL = 4


class BridgeRecorder:
    """Writes `<folder>/simulated/tabletop/<task>/00/<date>/raw/traj_group0/traj<i>/`, i counting within the task."""

    def __init__(self, robot: Robot, *, folder: Path, image_size: int) -> None:
        self._robot, self._folder, self._image_size = robot, folder, image_size
        self._counts: Counter[str] = Counter()

    def write(self, episode: Episode) -> None:
        """Write one trajectory."""
        slug = episode.task.replace(" ", "_")
        dated = f"{datetime.fromtimestamp(EPOCH_S, UTC):%Y-%m-%d_%H-%M-%S}"
        session = self._folder / "simulated" / "tabletop" / slug / "00" / dated
        if not self._counts[slug]:
            self._describe(session)
        folder = session / "raw" / "traj_group0" / f"traj{self._counts[slug]}"
        self._counts[slug] += 1
        for view, camera in _VIEWS.items():
            for step, frame in enumerate(bridge_pictures(episode, camera, image_size=self._image_size)):
                with whole_file(folder / view / f"im_{step}.jpg") as partial:
                    partial.write_bytes(as_jpeg(frame))
        log = bridge_log(episode)
        began_s = EPOCH_S + 60.0 * episode.index
        observed = {
            "full_state": log.state_T7.astype(float),
            "state": log.state_T7.astype(float),
            "time_stamp": [began_s + time for time in log.time_T.tolist()],
        }
        actions = log.action_T7[:-1].astype(float)
        self._pickle(folder / "obs_dict.pkl", observed)
        self._pickle(folder / "policy_out.pkl", [{"actions": action.copy()} for action in actions])
        self._pickle(folder / "agent_data.pkl", {"traj_ok": True, "simulated": True})
        with whole_file(folder / "lang.txt") as partial:
            partial.write_text(f"{episode.instruction}\nconfidence: 1\n", encoding="utf-8")

    def close(self) -> None:
        """There is nothing that describes the dataset as a whole."""

    def _describe(self, session: Path) -> None:
        """What a session of collecting says of itself."""
        told = {"robot": self._robot.name, "simulated": True, "environment": "tabletop", "policy_desc": "script"}
        with whole_file(session / "collection_metadata.json") as partial:
            partial.write_text(json_line(told), encoding="utf-8")
        with whole_file(session / "config.json") as partial:
            partial.write_text(json_line({"step_duration": 1 / self._robot.rate_hz}), encoding="utf-8")

    def _pickle(self, path: Path, value: object) -> None:
        with whole_file(path) as partial:
            partial.write_bytes(pickle.dumps(value, protocol=_PROTOCOL))
