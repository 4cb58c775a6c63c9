"""Native robot logs become episodes in a lake, as Ray jobs."""
