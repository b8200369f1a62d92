"""Prints the licences of all crates in the released programs, which their distribution asks for.

usage: licences.py TRIPLE PACKAGE...
"""

import json
import subprocess
import sys
from pathlib import Path

NAMES = ("licen", "copying", "notice", "copyright", "unlicense")


def main() -> None:
    triple, *programs = sys.argv[1:]
    command = ["cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={triple}"]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    texts: dict[str, list[str]] = {}
    for package in linked(metadata, packages, programs):
        name = f"{package['name']} {package['version']} ({package['license'] or 'see its file'})"
        found = files(Path(package["manifest_path"]).parent)
        for text in found or ["The crates have no file of their licence; its name is above."]:
            texts.setdefault(text, []).append(name)
    for text, crates in sorted(texts.items(), key=lambda each: each[1]):
        print("=" * 100, *sorted(crates), "-" * 100, text, sep="\n")


def linked(metadata: dict, packages: dict, programs: list[str]) -> list[dict]:
    """Returns the crates that the programs are made of, without those that only build them."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    waiting = [each for each, package in packages.items() if package["name"] in programs]
    seen = set(waiting)
    while waiting:
        for dependency in nodes[waiting.pop()]["deps"]:
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
            if None in kinds and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                waiting.append(dependency["pkg"])
    # Those of this workspace have no source; LICENSE is theirs.
    return [packages[each] for each in sorted(seen) if packages[each]["source"]]


def files(folder: Path) -> list[str]:
    found = sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.name.lower().startswith(NAMES) and path.suffix != ".rs"
    )
    return [path.read_text(errors="replace").strip() for path in found]


if __name__ == "__main__":
    main()
