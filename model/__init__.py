"""π0 and its flow-matching objective; weights in and out."""
