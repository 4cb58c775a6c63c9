"""What an episode is: embodiments and typed action spaces, Arrow schemas, pictures, the lake on disk."""
