"""Recipes that come with robomix, by the name of the file."""
