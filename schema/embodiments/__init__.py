"""The embodiment tables: one TOML file per robot, read by `schema.embodiment`."""
