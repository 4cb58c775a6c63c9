"""The table of Open X-Embodiment: all datasets are there, each makes an embodiment, a wrong one is told whole."""

import pytest

from ingest.detect import find_embodiment
from ingest.formats import rlds
from ingest.location import Location
from ingest.oxe import table
from ingest.oxe.table import embodiment_of, entries, oxe_embodiment, parse_entries, parse_shared
from ingest.record import Discovery
from ingest.source_rules import follow
from ingest.standardize import parse_expression
from schema.embodiment import builtin_embodiments, load_embodiment
from schema.errors import ConfigError

RLDS_SUFFIX = "_converted_externally_to_rlds"
NAMES = """
fractal20220817_data kuka bridge_oxe bridge_orig bridge_dataset taco_play jaco_play berkeley_cable_routing roboturk
nyu_door_opening_surprising_effectiveness viola berkeley_autolab_ur5 toto language_table columbia_cairlab_pusht_real
stanford_kuka_multimodal_dataset* nyu_rot_dataset* stanford_hydra_dataset* austin_buds_dataset*
nyu_franka_play_dataset* maniskill_dataset* furniture_bench_dataset* cmu_franka_exploration_dataset*
ucsd_kitchen_dataset* ucsd_pick_and_place_dataset* austin_sailor_dataset* austin_sirius_dataset* bc_z
utokyo_pr2_opening_fridge* utokyo_pr2_tabletop_manipulation* utokyo_xarm_pick_and_place* utokyo_xarm_bimanual*
robo_net berkeley_mvp* berkeley_rpt* kaist_nonprehensile* stanford_mask_vit* tokyo_u_lsmo* dlr_sara_pour*
dlr_sara_grid_clamp* dlr_edan_shared_control* asu_table_top* stanford_robocook* imperialcollege_sawyer_wrist_cam
iamlab_cmu_pickup_insert* uiuc_d3field utaustin_mutex berkeley_fanuc_manipulation cmu_playing_with_food
cmu_play_fusion cmu_stretch berkeley_gnm_recon berkeley_gnm_cory_hall berkeley_gnm_sac_son droid fmb_dataset dobbe
roboset rh20t tdroid_carrot_in_bowl tdroid_pour_corn_in_pot tdroid_flip_pot_upright tdroid_move_object_onto_plate
tdroid_knock_object_over tdroid_cover_object_with_towel droid_wipe libero_spatial_no_noops libero_object_no_noops
libero_goal_no_noops libero_10_no_noops
""".replace("*", RLDS_SUFFIX).split()

SHARED = parse_shared(table._read("robots.toml"), where="robots.toml")
ENTRY = """
[one]
title = "One"
robot = "ur5"
rate_hz = 10
action_space = "eef_planar"
[one.signals]
"state.eef_position_xy" = "observation/xy[0:2]"
"action.eef_position_xy" = "action[0:2]"
"""


def complaint(text):
    with pytest.raises(ConfigError) as caught:
        parse_entries(text, SHARED, where="mine.toml")
    return str(caught.value)


def discovery_of(name):
    return Discovery(format="rlds", name=name, robot=None, rate_hz=None, records=(), fields=(), cameras=())


def test_all_seventy_datasets_are_there():
    assert len(NAMES) == 70
    assert set(entries()) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_makes_an_embodiment_by_known_transforms(name):
    entry, embodiment = entries()[name], oxe_embodiment(name)

    assert embodiment is not None
    assert set(embodiment.sources["rlds"].signals) == set(entry.signals)
    space = embodiment.action_space()
    assert set(space.state) | set(space.action) <= set(entry.signals)
    for field in entry.signals.values():
        parse_expression(field)


def test_everything_that_entries_share_is_used():
    made = [oxe_embodiment(name) for name in NAMES if entries()[name].robot in SHARED.robots]

    assert {signal.name for embodiment in made for signal in embodiment.signals} == set(SHARED.signals)
    assert {space.name for embodiment in made for space in embodiment.action_spaces} == set(SHARED.spaces)
    assert {embodiment.name for embodiment in made} == set(SHARED.robots)


def test_datasets_of_one_robot_can_be_mixed():
    facts = {}
    for name in NAMES:
        embodiment = oxe_embodiment(name)
        for space in embodiment.action_spaces:
            said = (embodiment.rate_hz, embodiment.cameras, *map(embodiment.signal, (*space.state, *space.action)))
            assert facts.setdefault((embodiment.name, space.name), said) == said


@pytest.mark.parametrize(
    ("name", "robot"),
    [
        ("bridge", "widowx"),
        ("droid_100", "franka_droid"),
        ("viola", "franka"),
        ("austin_buds_dataset", "franka"),
        ("Language_Table", "xarm"),
    ],
)
def test_a_dataset_is_found_by_any_of_its_names(name, robot):
    assert find_embodiment(discovery_of(name), None).name == robot


def test_a_dataset_that_no_entry_knows_is_asked_for_as_before():
    assert oxe_embodiment("mine") is None
    with pytest.raises(ConfigError, match="choose one with --embodiment"):
        find_embodiment(discovery_of("mine"), None)


def test_the_users_word_goes_before_the_table():
    assert "rlds" in load_embodiment("widowx").sources
    assert find_embodiment(discovery_of("bridge_orig"), "widowx") == load_embodiment("widowx")


def test_bridge_is_of_the_builtin_robot_by_the_same_fields():
    builtin, ours = load_embodiment("widowx"), oxe_embodiment("bridge_dataset")

    assert (ours.signals, ours.cameras, ours.action_spaces) == (builtin.signals, builtin.cameras, builtin.action_spaces)
    assert ours.sources["rlds"].signals == builtin.sources["rlds"].signals
    assert ours.sources["rlds"].optional_cameras == builtin.sources["rlds"].optional_cameras


def test_real_bridge_episodes_give_the_numbers_and_pictures_that_they_gave(real_logs):
    location = Location.of(str(real_logs / "bridge_rlds"))
    discovery = rlds.discover(location)
    binding = find_embodiment(discovery, None).sources["rlds"]

    for record in discovery.records[:3]:
        before, raw = rlds.read(location, record), follow(rlds.read(location, record), binding)
        assert {path: values.tolist() for path, values in raw.fields.items()} == {
            path: values.tolist() for path, values in before.fields.items()
        }
        assert {key: list(each) for key, each in raw.pictures.items()} == {
            key: list(each) for key, each in before.pictures.items()
        }


def test_a_doubt_changes_no_conversion_and_a_rule_does():
    entry = entries()["viola"]

    doubted = embodiment_of(entry.model_copy(update={"doubt": ("really",)}), SHARED)
    ruled = embodiment_of(entry.model_copy(update={"drop_first": 2}), SHARED)

    assert doubted.digest == oxe_embodiment("viola").digest
    assert ruled.digest != oxe_embodiment("viola").digest


def test_an_entry_like_another_says_only_what_differs():
    text = ENTRY + '[two]\nlike = "one"\ntitle = "Two"\nrate_hz = 5\n'

    found = parse_entries(text, SHARED, where="mine.toml")

    assert found["two"].signals == found["one"].signals
    assert (found["two"].title, found["two"].rate_hz, found["two"].robot) == ("Two", 5, "ur5")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('robot = "ur5"', 'robot = "ur6"', "one: robot 'ur6' is none of"),
        ('"eef_planar"', '"eef_delta"', "action space 'eef_delta'"),
        ("action[0:2]", "action[0:3]", "action.eef_position_xy needs 2 columns, 'action[0:3]' has 3"),
        ("action[0:2]", "action[0:2] | flip", "names unknown transforms ['flip']"),
        ("action[0:2]", "action[0:2] | quaternion_to_euler", "which 'action[0:2] | quaternion_to_euler' cannot give"),
        ('"action.eef_position_xy"', '"action.wings"', "one: signal 'action.wings' is none of"),
        ("rate_hz = 10", 'rate_hz = 10\ncameras = { tail = "a" }', "one: camera 'tail' is none of ur5's"),
        ("rate_hz = 10", 'rate_hz = 10\nbgr_cameras = ["base"]', "bgr_cameras names 'base', which is bound to nothing"),
        ("rate_hz = 10", "rate_hz = 0", "one.rate_hz: Input should be greater than 0"),
        ("rate_hz = 10", "rate_hz = 10\ncolour = 1", "one.colour: Extra inputs are not permitted"),
        ("rate_hz = 10", 'rate_hz = 10\nlike = "none"', "one.like: Extra inputs are not permitted"),
        ("[one]", '[two]\nlike = "one"\nnames = ["ONE"]\n[one]', "one: two entries go by this name"),
    ],
)
def test_a_mistake_says_what_is_wrong_and_where(old, new, problem):
    assert old in ENTRY
    message = complaint(ENTRY.replace(old, new, 1))
    assert problem in message
    assert "mine.toml" in message


def test_every_problem_of_every_entry_is_in_one_message():
    other = ENTRY.replace("[one", "[two").replace('"ur5"', '"ur6"')

    message = complaint(ENTRY.replace("rate_hz = 10", "rate_hz = -1\nspeed = 3") + other)

    assert message.startswith("found 3 problems in mine.toml")
    assert [part in message for part in ("one.rate_hz", "one.speed", "two: robot")] == [True] * 3


def test_text_that_is_no_toml_names_the_file():
    assert "mine.toml" in complaint("[one")


def test_a_space_of_unknown_signals_is_told():
    text = '[signals]\n[robots]\n[spaces]\nnone = { state = ["a"], action = ["b"] }\n'
    with pytest.raises(ConfigError, match=r"found 2 problems in r\.toml(.|\n)*spaces\.none takes 'state\.a'"):
        parse_shared(text, where="r.toml")


def test_no_robot_of_the_table_hides_another_tables_action_space():
    """The built-in `franka` and the one of these datasets have no action space of the same name."""
    for name in NAMES:
        embodiment = oxe_embodiment(name)
        builtin = builtin_embodiments().get(embodiment.name)
        if builtin is not None and entries()[name].robot in SHARED.robots:
            assert not {s.name for s in builtin.action_spaces} & {s.name for s in embodiment.action_spaces}
