"""What normalization needs to know of states and actions."""

import pyarrow as pa

STATS = pa.schema(
    [
        ("key", pa.string()),  # Component.stats_key
        ("role", pa.string()),  # state, action
        ("dimension", pa.string()),  # <signal>.<dim>
        ("slot", pa.int32()),  # in the padded vector
        ("unit", pa.string()),
        ("count", pa.int64()),
        ("mean", pa.float64()),
        ("std", pa.float64()),
        ("min", pa.float64()),
        ("max", pa.float64()),
        ("q01", pa.float64()),
        ("q99", pa.float64()),
        ("rule", pa.string()),  # measured, gripper, constant
    ]
)
"""Columns of stats.parquet, without nulls; rows by key, then role (state first), then in the action space's order."""
