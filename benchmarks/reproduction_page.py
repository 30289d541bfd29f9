"""Tables and curve of docs/reproduction.md, from the results of reproduce.py; the page's prose stays.

A made part stands between `<!-- made: NAME -->` and `<!-- end -->`.
"""

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from eg3d.scores.table import markdown
from groundwork.files import atomic_write

JUDGE, LOSS_NETWORK = "gfas_mse_sum (embedded-judge)", "gfas_mse_sum (embedded)"
SLOPE, DISTANCE, KERNEL = "slope of yaw (embedded-judge)", "fd_embedded", "kd_embedded"
IDENTITY, POSE = "id_similarity", "pose_mse"
COLUMNS = {  # score -> heading, format
    JUDGE: ("GFAS, judge", ".4f"),
    LOSS_NETWORK: ("GFAS, loss network", ".4f"),
    SLOPE: ("slope, judge", ".2f"),
    DISTANCE: ("Frechet distance", ".2f"),
    KERNEL: ("kernel distance", ".2f"),
    IDENTITY: ("identity similarity", ".4f"),
    POSE: ("pose MSE x 1000", ".3f"),
}
TITLES = {
    "base": "base (not fine-tuned)",
    "baseline": "baseline: fine-tuned without the term",
    "gl": "+GL",
    "gl-weight-1": "+GL, weight 1",
    "dp-gaze": "+DP, by gaze",
    "dp-label": "+DP, by label",
    "gl-dp-gaze": "+GL and DP, by gaze",
    "gl-dp-label": "+GL and DP, by label",
    "gl-legacy": "+GL, published targets",
    "gl-weight-0.2": "+GL, weight 0.2",
    "gl-weight-25": "+GL, weight 25",
}
TABLE_1 = ["base", "gl-dp-gaze"]
TABLE_2 = ["baseline", "gl", "gl-weight-1", "dp-gaze", "dp-label", "gl-dp-gaze", "gl-dp-label"]
OTHERS = ["gl-legacy", "gl-weight-0.2", "gl-weight-25"]
CURVE = {0: "baseline", 0.2: "gl-weight-0.2", 1: "gl-weight-1", 5: "gl", 25: "gl-weight-25"}
BARS = {  # score -> what the project asks of +GL against the baseline of the same seed
    JUDGE: ("at most 0.30 x", lambda new, old: new / old, lambda change: change <= 0.3),
    DISTANCE: ("at most 1.25 x", lambda new, old: new / old, lambda change: change <= 1.25),
    IDENTITY: ("not lower by more than 0.03", lambda new, old: new - old, lambda change: change >= -0.03),
    POSE: ("at most 1.20 x", lambda new, old: new / old, lambda change: change <= 1.2),
}
Runs = dict[tuple[str, int], dict]  # (arm, seed) -> scores


def write_page(page: Path, results: Path) -> None:
    """Makes the tables of the page anew, and the curve beside it."""
    runs = read(results)
    atomic_write(page, made(page.read_text(), runs).encode())
    if all((arm, 0) in runs for arm in CURVE.values()):
        atomic_write(page.with_name("reproduction_curve.png"), curve(runs))


def read(results: Path) -> Runs:
    """Scores of every finished run."""
    records = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
    return {(record["arm"], record["seed"]): record["scores"] for record in records}


def made(text: str, runs: Runs) -> str:
    """The page's text with its tables made from these runs."""
    parts = {
        "table 1": table(TABLE_1, runs),
        "table 2": table(TABLE_2, runs),
        "bars": bars(["gl", "gl-weight-1", "gl-dp-gaze", "gl-dp-label"], runs),
        "others": table(OTHERS, runs),
        "every run": every_run(runs),
    }
    for name, part in parts.items():
        pattern = re.compile(rf"(<!-- made: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"the page has no part <!-- made: {name} --> ... <!-- end -->")
        text = pattern.sub(lambda found, part=part: f"{found[1]}\n{part}\n{found[2]}", text)
    return text


def table(arms: Sequence[str], runs: Runs) -> str:
    """One line per arm: mean over its seeds, and the range."""
    lines = [["", *(heading for heading, _ in COLUMNS.values()), "seeds"]]
    for arm in arms:
        scores = of_arm(arm, runs)
        if scores:
            cells = [spread([s[name] for s in scores.values()], name) for name in COLUMNS]
            lines.append([TITLES[arm], *cells, str(len(scores))])
    return markdown(lines)


def bars(arms: Sequence[str], runs: Runs) -> str:
    """What was asked against the baseline, seed by seed."""
    lines = [["", "asked", *(TITLES[arm] for arm in arms)]]
    baseline = of_arm("baseline", runs)
    for name, (asked, change, met) in BARS.items():
        cells = []
        for arm in arms:
            changes = [change(s[name], baseline[k][name]) for k, s in of_arm(arm, runs).items() if k in baseline]
            verdict = "met" if all(map(met, changes)) else f"met by {sum(map(met, changes))} of {len(changes)}"
            cells.append(", ".join(f"{value:.3f}" for value in changes) + f" ({verdict})" if changes else "-")
        lines.append([COLUMNS[name][0], asked, *cells])
    return markdown(lines)


def every_run(runs: Runs) -> str:
    """All values, one line per run."""
    lines = [["", "seed", *(heading for heading, _ in COLUMNS.values())]]
    for arm in TITLES:
        for seed, scores in of_arm(arm, runs).items():
            lines.append([TITLES[arm], str(seed), *(shown(scores[name], name) for name in COLUMNS)])
    return markdown(lines)


def of_arm(arm: str, runs: Runs) -> dict[int, dict]:
    """Its seeds -> scores, in order."""
    return {seed: runs[name, seed] for name, seed in sorted(runs) if name == arm}


def spread(values: Sequence[float], name: str) -> str:
    """`mean (least to most)`."""
    if len(values) == 1:
        return shown(values[0], name)
    return f"{shown(mean(values), name)} ({shown(min(values), name)} to {shown(max(values), name)})"


def shown(value: float, name: str) -> str:
    return format(value * (1000 if name == POSE else 1), COLUMNS[name][1])


def curve(runs: Runs) -> bytes:
    """PNG: Frechet distance and identity against GFAS, one point per gaze weight (first seed)."""
    from matplotlib.figure import Figure  # slow to import, and only needed here

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), (DISTANCE, IDENTITY), strict=True):
        points = [(runs[arm, 0][JUDGE], runs[arm, 0][name]) for arm in CURVE.values()]
        axes.plot(*zip(*points, strict=True), "o-", color="tab:blue")
        for (x, y), weight in zip(points, CURVE, strict=True):
            axes.annotate(f"{weight:g}", (x, y), textcoords="offset points", xytext=(5, 5))
        axes.set(xscale="log", xlabel="GFAS by the judge, rad^2 (lower is better)", ylabel=COLUMNS[name][0])
    figure.suptitle("One seed of +GL for each weight of the gaze term (0: the baseline)")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
