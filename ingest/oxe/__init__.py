"""Open X-Embodiment as data: which robot each dataset is of, what its fields are, and what is doubtful of that."""
