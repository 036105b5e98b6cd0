"""The history of a job's models: which were served when and why, and which were refused."""

from deploy import retraining
from deploy import serving as servings
from deploy.gate.figures import percent
from deploy.job import Job

_COLUMNS = ("when", "what", "version", "instead of", "accuracy", "why")


def table(job: Job) -> str:
    """A line for each event, in chronological order."""
    current = servings.read(job.serving_folder).current
    rows = []
    for event in current.history if current else ():
        model = current.models[event.version]
        why = f"{model.reason} ({model.run})" if event.what == "promoted" else "by hand"
        numbers = (str(event.version), str(event.replaced or ""), percent(model.accuracy))
        rows.append((event.at, event.what, *numbers, why))
    for path in job.folder.glob(f"*/{retraining.GATE}"):
        decision = retraining.read_decision(path)
        if decision["outcome"] == "refuse":
            accuracy = percent(decision["gate"]["challenger"]["accuracy"]) if decision["gate"] else ""
            why = f"{decision['reason']} ({decision['challenger']})"
            rows.append((decision["decided_at"], "refused", "", "", accuracy, why))
    if not rows:
        return f"{job.name}: nothing has been decided yet"
    rows = [_COLUMNS, *sorted(rows, key=lambda row: row[0])]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, f"in use: version {current.version}" if current else "no version is in use"])
