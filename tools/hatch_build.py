"""Build hook of the wheel: with ``ZABRA_COMPILE=1`` it holds the compiled layers beside their sources."""

import os
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).resolve().parent))


def wanted() -> bool:
    """Whether this build compiles."""
    return os.environ.get("ZABRA_COMPILE", "") not in ("", "0")


class CustomBuildHook(BuildHookInterface[Any]):
    """Adds the extension modules to the wheel and marks it as belonging to one platform."""

    def dependencies(self) -> list[str]:
        """What the build environment needs on top of hatchling."""
        if not wanted():
            return []
        return [*self.metadata.core.optional_dependencies["compiled"], *self.metadata.core.dependencies]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles, and names the results to hatchling."""
        if not wanted() or version == "editable":
            return
        import build_compiled

        tree = build_compiled.build(Path(self.root))
        for path in tree.rglob("*.so"):
            build_data["force_include"][str(path)] = str(path.relative_to(tree))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
