"""The `oblix` command: one command a file."""
