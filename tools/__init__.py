"""What the recipes of the justfile run that is longer than a line."""
