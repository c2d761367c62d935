"""``python -m zabra``: the same as the ``zabra`` command."""

from zabra.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
