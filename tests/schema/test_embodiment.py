"""Embodiment tables: the built-in ones parse, a wrong one says everything that is wrong with it."""

from pathlib import Path

import pytest

from schema.embodiment import builtin_embodiments, load_embodiment, parse_embodiment
from schema.errors import ConfigError

NAMES = sorted(builtin_embodiments())

TABLE = """
name = "arm"
title = "A test arm"
rate_hz = 10
default_action_space = "default"
cameras = [{ name = "base", role = "exterior" }]

[[signals]]
name = "state.joint_position"
part = "left"
quantity = "joint_position"
unit = "rad"
frame = "joint"
mode = "absolute"
dims = ["a", "b"]
limits = [[-1.0, 1.0], [-1.0, 1.0]]

[[signals]]
name = "action.joint_position"
part = "left"
quantity = "joint_position"
unit = "rad"
frame = "joint"
mode = "absolute"
dims = ["a", "b"]

[[action_spaces]]
name = "default"
state = ["state.joint_position"]
action = ["action.joint_position"]

[sources.lerobot]
match = ["arm"]
[sources.lerobot.signals]
"state.joint_position" = "observation.state[0:2]"
"action.joint_position" = "action[0:2] | degrees_to_radians"
[sources.lerobot.cameras]
base = "observation.images.base"
"""


def table_with(*replacements):
    text = TABLE
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def complaint(text):
    with pytest.raises(ConfigError) as caught:
        parse_embodiment(text, where="arm.toml")
    return str(caught.value)


def test_a_table_is_loaded_by_its_file_name():
    assert {name: load_embodiment(name).name for name in NAMES} == {name: name for name in NAMES}


def test_the_robots_that_come_with_robomix_are_these():
    seven = {"ur5e", "bimanual_ur5e", "franka", "bimanual_trossen", "bimanual_arx", "mobile_trossen", "mobile_fibocom"}
    assert set(NAMES) >= seven | {"widowx", "dobot_cr5", "unitree_g1", "gr1"}


@pytest.mark.parametrize(
    ("name", "state", "action", "cameras", "rate_hz"),
    [
        ("ur5e", 7, 7, 2, 20),
        ("bimanual_ur5e", 14, 14, 3, 20),
        ("franka", 8, 8, 2, 20),
        ("bimanual_trossen", 14, 14, 3, 50),
        ("bimanual_arx", 14, 14, 3, 50),
        ("mobile_trossen", 14, 16, 3, 50),
        ("mobile_fibocom", 14, 17, 3, 50),
    ],
)
def test_the_seven_robots_have_the_sizes_of_the_paper(name, state, action, cameras, rate_hz):
    robot = load_embodiment(name)
    space = robot.action_space()

    assert len(robot.dimensions(space.state)) == state
    assert len(robot.dimensions(space.action)) == action
    assert len(robot.cameras) == cameras
    assert robot.rate_hz == rate_hz


@pytest.mark.parametrize(
    ("name", "space", "state", "action", "cameras", "rate_hz"),
    [
        ("widowx", "eef_delta", 7, 7, 4, 5),
        ("dobot_cr5", "joint_velocity", 6, 7, 1, 10),
        ("unitree_g1", "joint_position", 26, 26, 1, 30),
        ("gr1", "joint_position", 44, 44, 1, 20),
        ("gr1", "arms_hands", 26, 26, 1, 20),
        ("gr1", "arms", 14, 14, 1, 20),
        ("franka_droid", "joint_velocity", 8, 8, 3, 15),
        ("franka_droid", "joint_position", 8, 8, 3, 15),
        ("franka_droid", "eef_velocity", 7, 7, 3, 15),
        ("franka_droid", "eef_position", 7, 7, 3, 15),
        ("panda_sim", "eef_delta", 8, 7, 1, 20),
        ("indy7", "eef_delta", 6, 6, 0, 50),
    ],
)
def test_the_other_robots_have_the_sizes_of_their_logs(name, space, state, action, cameras, rate_hz):
    robot = load_embodiment(name)
    chosen = robot.action_space(space)

    assert len(robot.dimensions(chosen.state)) == state
    assert len(robot.dimensions(chosen.action)) == action
    assert len(robot.cameras) == cameras
    assert robot.rate_hz == rate_hz


@pytest.mark.parametrize("name", NAMES)
def test_every_signal_of_an_action_space_is_bound_by_every_source(name):
    robot = load_embodiment(name)
    needed = {signal for space in robot.action_spaces for signal in (*space.state, *space.action)}

    unbound = {form: needed - binding.signals.keys() for form, binding in robot.sources.items()}

    assert robot.sources
    assert not any(unbound.values())


@pytest.mark.parametrize("name", NAMES)
def test_every_camera_is_bound_by_every_source(name):
    robot = load_embodiment(name)
    cameras = {camera.name for camera in robot.cameras}

    bound = {form: {*source.cameras, *source.optional_cameras} for form, source in robot.sources.items()}

    assert bound == dict.fromkeys(robot.sources, cameras)


@pytest.mark.parametrize("name", NAMES)
def test_a_field_is_as_wide_as_its_signal(name):
    robot = load_embodiment(name)
    fields = [(s, field) for source in robot.sources.values() for s, field in source.signals.items()]

    widths = {signal: _width(field.partition("[")[2].partition("]")[0]) for signal, field in fields}

    assert widths == {s: robot.signal(s).width for s in widths}


def _width(columns):
    """Of `start:stop` or `name,name,…`."""
    start, _, stop = columns.partition(":")
    return int(stop) - int(start) if stop else len(columns.split(","))


@pytest.mark.parametrize("name", NAMES)
def test_the_fields_of_a_source_take_no_number_twice(name):
    robot = load_embodiment(name)

    fields = [(form, field) for form, s in robot.sources.items() for field in s.signals.values()]
    taken = [(form, f.partition("|")[0].strip()) for form, f in fields if not f.endswith("| next_step")]

    assert len(set(taken)) == len(taken)


def test_no_two_robots_claim_the_same_log():
    claims = [
        (form, word)
        for robot in builtin_embodiments().values()
        for form, s in robot.sources.items()
        for word in s.match
    ]
    assert len(set(claims)) == len(claims)


@pytest.mark.parametrize("name", NAMES)
def test_every_gripper_is_a_fraction(name):
    grippers = [signal for signal in load_embodiment(name).signals if signal.quantity == "gripper"]
    assert {(signal.unit, signal.frame, signal.mode) for signal in grippers} <= {("1", "fraction", "absolute")}


@pytest.mark.parametrize(
    ("name", "form"),
    [("widowx", "rlds"), ("widowx", "bridge_raw"), ("bimanual_trossen", "aloha"), ("mobile_trossen", "aloha")],
)
def test_grippers_that_are_recorded_open_positive_are_turned_round(name, form):
    robot = load_embodiment(name)
    fields = {s: f for s, f in robot.sources[form].signals.items() if robot.signal(s).quantity == "gripper"}
    assert {field.endswith("| invert_gripper") for field in fields.values()} == {True}


def test_dimensions_come_signal_by_signal_under_their_full_names():
    robot = load_embodiment("mobile_trossen")

    dimensions = robot.dimensions(("action.right_gripper", "action.base_velocity"))

    assert [(d.name, d.unit, d.is_gripper) for d in dimensions] == [
        ("action.right_gripper.gripper", "1", True),
        ("action.base_velocity.forward", "m/s", False),
        ("action.base_velocity.yaw", "rad/s", False),
    ]


def test_an_unknown_embodiment_lists_the_choices():
    with pytest.raises(ConfigError, match="unknown embodiment 'ur6'") as caught:
        load_embodiment("ur6")
    assert all(name in str(caught.value) for name in NAMES)


def test_a_path_without_a_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no embodiment file there: .*mine\.toml"):
        load_embodiment(str(tmp_path / "mine.toml"))


def test_an_unknown_action_space_lists_the_choices():
    with pytest.raises(
        ConfigError, match=r"no action space 'legs': choose one of \['joint_position', 'arms_hands', 'arms'\]"
    ):
        load_embodiment("gr1").action_space("legs")


def test_a_users_own_file_is_loaded_by_its_path(tmp_path):
    path = tmp_path / "arm.toml"
    path.write_text(TABLE, encoding="utf-8")

    robot = load_embodiment(str(path))

    assert robot.name == "arm"
    assert robot.signal("state.joint_position").limits == ((-1.0, 1.0), (-1.0, 1.0))


def test_three_mistakes_in_three_places_are_reported_at_once():
    message = complaint(
        table_with(
            ("rate_hz = 10", "rate_hz = 0"),
            ('unit = "rad"', 'unit = "m/s"'),
            ('default_action_space = "default"', 'default_action_space = "other"'),
        )
    )
    assert message.startswith("the embodiment table has 3 problems (arm.toml):")
    assert "rate_hz: Input should be greater than 0" in message
    assert "signals[0]: unit 'm/s' does not measure joint_position: use ['1', 'm', 'rad']" in message
    assert "default_action_space 'other' is none of ['default']" in message


def test_two_mistakes_in_one_signal_are_two_lines():
    message = complaint(table_with(('unit = "rad"', 'unit = "m/s"'), ('dims = ["a", "b"]', 'dims = ["a", "a"]')))
    assert message.splitlines()[1:] == [
        "  - signals[0]: unit 'm/s' does not measure joint_position: use ['1', 'm', 'rad']",
        "  - signals[0]: dims repeat a name: ['a', 'a']",
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('unit = "rad"', 'unit = "deg"', "signals[0].unit"),
        ('unit = "rad"', 'unit = ["rad", "rad", "rad"]', "3 units for 2 dims"),
        ("limits = [[-1.0, 1.0], ", "limits = [", "1 limits for 2 dims"),
        ("limits = [[-1.0, 1.0], ", "limits = [[1.0, -1.0], ", "each limit is [low, high] with low < high"),
        ('mode = "absolute"', 'mode = "absolute"\nrotation = "euler_xyz"', "rotation is for eef_rotation signals"),
        ('quantity = "joint_position"', 'quantity = "eef_rotation"', "rotation is for eef_rotation signals"),
        (
            'quantity = "joint_position"',
            'quantity = "eef_rotation"\nrotation = "euler_xyz"',
            "euler_xyz has 3 dims, 2 are named",
        ),
        ('name = "state.joint_position"', 'name = "joint_position"', "signals[0].name: String should match pattern"),
        ('name = "action.joint_position"', 'name = "state.joint_position"', "signals repeat a name"),
        ('state = ["state.joint_position"]', 'state = ["action.joint_position"]', "which is no state signal"),
        ('action = ["action.joint_position"]', 'action = ["action.gripper"]', "which is no action signal"),
        ('"state.joint_position" =', '"state.gripper" =', "sources.lerobot binds unknown signal 'state.gripper'"),
        ('base = "obs', 'top = "obs', "sources.lerobot binds unknown camera 'top'"),
        ("observation.state[0:2]", "observation state[0:2]", "sources.lerobot.signals.state.joint_position"),
        ('role = "exterior"', 'role = "head"', "cameras[0].role"),
        ('name = "base"', 'name = "Base"', "cameras[0].name"),
        ("rate_hz = 10", "rate_hz = 10\nspeed = 3", "speed: Extra inputs are not permitted"),
    ],
)
def test_a_mistake_is_named_with_its_place(old, new, expected):
    assert expected in complaint(table_with((old, new)))


def test_one_mistake_is_one_problem():
    message = complaint(table_with(('default_action_space = "default"', 'default_action_space = "other"')))
    assert message.startswith("the embodiment table has 1 problem (arm.toml):\n  - default_action_space 'other'")


@pytest.mark.parametrize("text", ["signals = 3", "signals = [3]\naction_spaces = ['x']\nsources = { rlds = 4 }", ""])
def test_a_table_of_the_wrong_shape_is_a_config_error(text):
    assert "signals" in complaint(text)


def test_text_that_is_no_toml_is_a_config_error_naming_the_file():
    assert complaint("name = ").startswith("not valid TOML")
    assert complaint("name = ").endswith("arm.toml")


def test_the_digest_follows_every_fact_and_no_formatting():
    digest = parse_embodiment(TABLE, where="a").digest

    assert parse_embodiment("# a comment\n" + TABLE, where="b").digest == digest
    assert parse_embodiment(table_with(("rate_hz = 10", "rate_hz = 11")), where="c").digest != digest
    assert parse_embodiment(table_with(("1.0], [", "1.5], [")), where="d").digest != digest


@pytest.mark.parametrize("name", NAMES)
def test_the_documentation_states_the_sizes_of_every_robot(name):
    robot = load_embodiment(name)
    space = robot.action_space()
    widths = [len(robot.dimensions(signals)) for signals in (space.state, space.action)]
    cells = [f"`{name}`", robot.title, *widths, len(robot.cameras), f"{robot.rate_hz:g}", f"`{space.name}`"]

    page = (Path(__file__).parents[2] / "docs" / "embodiments.md").read_text(encoding="utf-8")

    assert f"| {' | '.join(map(str, cells))} |" in page
