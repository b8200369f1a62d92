#!/usr/bin/env python3
"""Checks that links between the repository's Markdown pages lead to files and headings that exist."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    pages = [ROOT / name for name in listed.stdout.split() if (ROOT / name).exists()]
    faults = [fault for page in pages for fault in broken(page)]
    print("\n".join(faults))
    print(f"{len(pages)} pages checked")
    sys.exit(bool(faults))


def broken(page: Path) -> list[str]:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    faults = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            faults.append(f"{page.relative_to(ROOT)}: {target} does not exist")
        elif anchor and anchor not in anchors(file):
            faults.append(f"{page.relative_to(ROOT)}: {target} has no such heading")
    return faults


def anchors(page: Path) -> set[str]:
    """Returns the anchors of a page's headings, as GitHub writes them: repeated ones are numbered."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    titles = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title) for title in titles]
    slugs = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
    before = [slugs[:place].count(slug) for place, slug in enumerate(slugs)]
    return {f"{slug}-{count}" if count else slug for slug, count in zip(slugs, before)}


if __name__ == "__main__":
    main()
