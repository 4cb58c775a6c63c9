"""Which episodes and frames, how good, how often: recipes, locks, statistics, the order."""
