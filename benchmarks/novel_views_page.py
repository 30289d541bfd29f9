"""Tables and picture of docs/novel_views.md, from the results of novel_views_claim.py; the page's prose stays.

A made part stands between `<!-- made: NAME -->` and `<!-- end -->`.
"""

import json
import math
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from statistics import mean

from eg3d.scores.table import markdown
from groundwork.files import atomic_file

FAR_DEG = (30.0, 60.0)  # |yaw| of the head where the claim is made
NOTHING_YET = "Not measured yet: `python benchmarks/novel_views_claim.py` measures it and fills this in."
TITLES = {  # arm -> what its network saw
    "sources": "the photos alone",
    "novel": "novel views of them",
    "novel-black": "novel views, all black behind and in one light",
    "novel-swap": "novel views, backgrounds swapped while training",
    "novel-loose": "the same, and sizes varied by 20 %",
    "novel-flat": "novel views, eyes painted flat on the mesh",
}
Scores = dict[str, dict[str, dict]]  # arm -> seed -> what l2cs/evaluate.py wrote


def far_error(score: dict) -> float:
    """Mean angular error, degrees, of the images whose head yaw lies in FAR_DEG."""
    low, high = FAR_DEG
    rows = [row for row in score["by_head"]["yaw"] if low <= row["from_deg"] and row["to_deg"] <= high]
    images = sum(row["images"] for row in rows)
    return sum(row["images"] * (row["mean_angular_error_deg"] or 0) for row in rows) / images


def lower_by(scores: Scores, arm: str = "novel", against: str = "sources") -> dict[str, float]:
    """Seed -> by how much the far error of an arm is lower than the other's, as a fraction; seeds that both have."""
    return {
        seed: 1 - far_error(score) / far_error(scores[against][seed])
        for seed, score in scores.get(arm, {}).items() if seed in scores.get(against, {})
    }  # fmt: skip


def table(scores: Scores) -> str:
    """A line for each arm: mean error over the seeds in each bin of the head's yaw, and its range where heads turn
    far."""
    bins = next(iter(next(iter(scores.values())).values()))["by_head"]["yaw"]
    heading = [f"{row['from_deg']:g} to {row['to_deg']:g}" for row in bins]
    lines = [["trained on", *heading, "all", f"{FAR_DEG[0]:g} to {FAR_DEG[1]:g}: mean (each seed)"]]
    for arm in [name for name in TITLES if name in scores]:
        runs = list(scores[arm].values())
        far = [far_error(run) for run in runs]
        cells = [_mean(run["by_head"]["yaw"][k]["mean_angular_error_deg"] for run in runs) for k in range(len(bins))]
        each = ", ".join(f"{value:.1f}" for value in far)
        lines.append([TITLES[arm], *cells, _mean(run["mean_angular_error_deg"] for run in runs),
                      f"{mean(far):.1f} ({each})"])  # fmt: skip
    lines.append(["*images*", *(str(row["images"]) for row in bins), str(sum(row["images"] for row in bins)), ""])
    return markdown(lines)


def _mean(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{mean(known):.1f}" if known else "-"


def verdict(scores: Scores) -> str:
    """The claim in one line, as it came out."""
    if not (lower := lower_by(scores)):
        return "The claim is not measured yet."
    values = ", ".join(f"{math.floor(100 * value)} %" for value in lower.values())  # never rounded up
    met = "is met" if min(lower.values()) >= 0.5 else "is not met"
    return (f"At {FAR_DEG[0]:g} to {FAR_DEG[1]:g} degrees of head yaw the error is lower by {values} (one seed each); "
            f"the claim of at least 50 % {met}.")  # fmt: skip


def made(text: str, records: dict[str, dict]) -> str:
    """The page's text with its parts made from these records: world -> what is in its results file."""
    for world in re.findall(r"<!-- made: (\w+) -->", text):
        part = NOTHING_YET
        if world in records:
            record = records[world]
            scores = record["results"]["scores"]
            command = re.sub(r" --workdir=\S+", "", record["command"])  # a folder of one machine
            told = f"Made by `{command}`, commit {record['commit']}, {record['hardware']}, {record['date']}."
            picture = f"![Error against the head's yaw](novel_views_{world}.png)"
            part = "\n\n".join([_wrapped(verdict(scores)), table(scores), picture, _wrapped(told)])
        pattern = re.compile(rf"(<!-- made: {world} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = pattern.sub(lambda found, part=part: f"{found[1]}\n{part}\n\n{found[2]}", text)
    return text


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.wrap(text, 120, break_long_words=False, break_on_hyphens=False))


def records_in(folder: Path) -> dict[str, dict]:
    """The newest results file of each world."""
    files = sorted(folder.glob("novel-views-claim-*.json"))
    return {path.name.split("_")[0].rpartition("-")[2]: json.loads(path.read_text()) for path in files}


def plot(path: Path, scores: Scores) -> None:
    """Error against the head's yaw: a line for each arm, the mean over its seeds, and the range as a band."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for arm in [name for name in TITLES if name in scores]:
        rows = [run["by_head"]["yaw"] for run in scores[arm].values()]
        bins = [row for row in zip(*rows, strict=True) if all(one["mean_angular_error_deg"] is not None for one in row)]
        x = [(row[0]["from_deg"] + row[0]["to_deg"]) / 2 for row in bins]
        errors = [[one["mean_angular_error_deg"] for one in row] for row in bins]
        (line,) = axes.plot(x, [mean(row) for row in errors], marker="o", label=TITLES[arm])
        axes.fill_between(x, [min(row) for row in errors], [max(row) for row in errors],
                          color=line.get_color(), alpha=0.2)  # fmt: skip
    axes.set(xlabel="|yaw| of the head (degrees)", ylabel="mean angular error (degrees)", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(title="trained on", fontsize="small")
    with atomic_file(path) as file:
        figure.savefig(file, dpi=100, format="png")
