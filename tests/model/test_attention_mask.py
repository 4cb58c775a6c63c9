"""Who attends to whom."""

import torch

from model.attention_mask import block_mask, lay_out, position_ids, suffix_blocks

VALID = torch.tensor([[True, False, True], [False, False, False]])


def _mask(valid=VALID, horizon=2):
    layout = lay_out(valid, horizon=horizon, head_dim=4, theta=1e4, dtype=torch.float32)
    return layout.prefix_mask[:, 0] == 0.0, layout.suffix_mask[:, 0] == 0.0


def test_blocks_see_themselves_and_earlier_ones():
    blocks = torch.cat([torch.zeros(2, dtype=torch.long), suffix_blocks(2, torch.device("cpu"))])
    mask = block_mask(torch.ones(1, 5, dtype=torch.bool), blocks)[0].int().tolist()
    assert mask == [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]]


def test_suffix_sees_only_valid_prefix_tokens():
    _, suffix = _mask()
    assert suffix[0].int().tolist() == [[1, 0, 1, 1, 0, 0], [1, 0, 1, 1, 1, 1], [1, 0, 1, 1, 1, 1]]
    assert suffix[1].int().tolist() == [[0, 0, 0, 1, 0, 0], [0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1]]


def test_a_padded_row_sees_itself_alone():
    prefix, _ = _mask()
    assert prefix[0].int().tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    assert torch.equal(prefix[1], torch.eye(3, dtype=torch.bool))


def test_absent_tokens_do_not_advance_positions():
    assert position_ids(torch.tensor([[True, False, True, True]])).tolist() == [[0, 0, 1, 2]]


def test_rotations_follow_positions():
    layout = lay_out(VALID, horizon=1, head_dim=4, theta=1e4, dtype=torch.float32)
    positions = torch.tensor([2.0, 3.0])  # after two valid prefix tokens
    torch.testing.assert_close(layout.suffix_rope.cos[0, 0, :, 0], positions.cos())
    torch.testing.assert_close(layout.suffix_rope.sin[0, 0, :, 1], (positions / 100.0).sin())
