"""Lock → batches → Ray Train → checkpoint → policy."""
