"""The command line: what puts a server together and what a person types."""
