"""Configuration: the table of options, and what a server and an ensemble were told; start at ``load``."""
