"""What --version says."""

import platform

import zabra
from zabra._mode import is_compiled
from zabra.cli.version import librt_version, version_text


def test_version_text_names_what_decides_the_speed() -> None:
    words = dict(part.split(": ") for part in version_text().split("  ")[1:-1])
    assert version_text().startswith(f"zabra {zabra.__version__}  ")
    assert words["compiled"] == ("yes" if is_compiled() else "no")
    assert words["librt"] == librt_version()
    assert words["loop"] in ("uvloop", "asyncio")
    assert version_text().endswith(f"Python {platform.python_version()}")
