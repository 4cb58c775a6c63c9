"""Simulated robots that record demo logs in their native formats, and the world they act in."""
