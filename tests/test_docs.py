"""Documentation: generated pages are current, links lead somewhere, decision records have their parts."""

import dataclasses
import re
from pathlib import Path

import pytest

import docs
from zabra.plugins.registry import BUILT_IN, available, camel

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
RECORDS = sorted((ROOT / "docs" / "adr").glob("*.md"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def test_generated_pages_are_current() -> None:
    assert docs.stale_pages() == [], "run make docs"


def slugs(text: str) -> set[str]:
    """The anchors of a page's headings, as renderers of Markdown make them."""
    headings = re.findall(r"^#+ (.*)$", CODE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(CODE.sub("", page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{target} does not exist"
        if anchor and path.suffix == ".md":
            assert anchor in slugs(path.read_text("utf-8")), f"{target}: no such heading"


def test_decision_records_are_numbered_once() -> None:
    numbers = [path.name[:4] for path in RECORDS]
    assert numbers
    assert all(re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", path.name) for path in RECORDS)
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("record", RECORDS, ids=names(RECORDS))
def test_decision_records_have_their_parts(record: Path) -> None:
    text = record.read_text("utf-8")
    number = record.name[:4]
    assert re.match(rf"# ({number}: |{int(number)}\. )\S", text), "the title is '# <number>: <decision>'"
    for part in ("Context", "Decision", "Alternatives", "Consequence"):
        assert re.search(rf"^(\*\*|## ){part}", text, re.MULTILINE), f"{part} is missing"


def test_readme_names_verbs_that_exist() -> None:
    verbs = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for verb in re.findall(
        r"`make ([a-z-]+)|^    make ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE
    ):
        assert "".join(verb) in verbs


def publisher_options() -> list[tuple[str, str, str]]:
    """(publisher, key, default as the page shows it) of every publisher that is built in."""
    found = []
    for kind, entry in sorted(available().items()):
        if kind not in BUILT_IN:
            continue
        options = entry.load().Options
        for field in dataclasses.fields(options):
            default = "" if field.default is dataclasses.MISSING else field.default
            shown = str(default).lower() if isinstance(default, bool) else str(default)
            found.append((kind, camel(field.name), shown))
    return found


def test_every_option_of_a_publisher_is_documented() -> None:
    page = (ROOT / "docs" / "publishers.md").read_text("utf-8")
    for kind, key, default in publisher_options():
        section = re.search(rf"^## {kind}\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
        assert section, f"docs/publishers.md has no section {kind}"
        row = re.search(rf"^\| `{key}` \| (.*?) ?\|", section[1], re.MULTILINE)
        shown = row[1].strip("` ") if row else None
        if row is None and f"`{key}` ({default.lower()})" in section[1]:
            # Said in a sentence.
            continue
        assert shown is not None or f"`{key}`" in section[1], f"{kind}: {key} is not there"
        assert shown is None or shown == default, f"{kind}: the default of {key} is {default!r}"
