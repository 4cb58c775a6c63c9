"""What the data itself says of its conventions, held against the embodiment table before anything is committed."""
