"""The ``zabra`` command."""


def main() -> int:
    """Runs one sub-command."""
    return 0
