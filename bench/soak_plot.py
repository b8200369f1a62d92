"""Draws the series of a soak: `soak_plot.py target/soak.json bench/soak.svg`."""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402

COLUMNS = 3
#: Colours that can be read on white and on black.
TEXT, LINE, RESTART = "#768390", "#3d8bd4", "#76839060"


def draw(results: dict, to: Path) -> None:
    """Draws a small panel for each series, with the restarts as vertical lines."""
    pyplot.rcParams.update({
        "svg.fonttype": "none", "svg.hashsalt": "soak", "font.family": "sans-serif",
        "font.size": 8, "text.color": TEXT, "axes.labelcolor": TEXT, "axes.edgecolor": TEXT,
        "xtick.color": TEXT, "ytick.color": TEXT,
    })  # fmt: skip
    series = results["series"]
    rows = -(-len(series) // COLUMNS)
    figure, grid = pyplot.subplots(rows, COLUMNS, figsize=(10, 1.5 * rows), sharex=True)
    panels = list(grid.flat)
    for panel, (name, values) in zip(panels, series.items()):
        times = [at / 60 for at, _ in values]
        panel.plot(times, [value for _, value in values], color=LINE, linewidth=1)
        # A series of one connector has the restarts of that one.
        is_connector = any(name.startswith(part) for _, part, _ in results["restarts"])
        shown = [
            at / 60
            for at, part, _ in results["restarts"]
            if not is_connector or name.startswith(part)
        ]
        # All lines in one path make a small file.
        panel.plot(
            [x for at in shown for x in (at, at, None)], [0, 1, None] * len(shown),
            color=RESTART, linewidth=0.6, transform=panel.get_xaxis_transform(),
        )  # fmt: skip
        panel.set_title(name, fontsize=8, loc="left")
        panel.set_ylim(bottom=0)
        panel.patch.set_alpha(0)
        panel.spines[["top", "right"]].set_visible(False)
        panel.yaxis.set_major_locator(pyplot.MaxNLocator(3))
        panel.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    for panel in panels[len(series) :]:
        panel.set_visible(False)
    for panel in panels[len(series) - COLUMNS : len(series)]:
        panel.set_xlabel("minutes")
        panel.tick_params(labelbottom=True)
    figure.tight_layout()
    figure.savefig(to, format="svg", transparent=True, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
