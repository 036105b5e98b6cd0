"""How far a retraining is, or how the last one ended, in words."""

from typing import TYPE_CHECKING

from deploy import progress
from deploy.progress import STEPS, Step

if TYPE_CHECKING:
    from common.storage.paths import AnyPath


def describe(folder: "AnyPath", name: str) -> str:
    """The last retraining in words, a line for each step."""
    status = progress.read(folder)
    if status is None:
        return f"{name}: no retraining has been started yet"
    state = status.state
    if state == "running" and not progress.is_at_work(folder):
        state = "interrupted; the same command resumes it"
    head = f"{name}: {status.outcome or state}, begun {status.started}"
    if state == "running":
        head += f", on {status.process.host} as process {status.process.pid}"
    lines = [head, *(_describe_step(step, status.steps[step]) for step in STEPS)]
    if status.reason:
        lines.append(status.reason)
    return "\n".join(lines)


def _describe_step(name: str, step: Step) -> str:
    seconds = "" if step.seconds is None else f"{step.seconds:,.1f} s"
    return f"  {name:10}  {step.state.replace('_', ' '):10}  {seconds:>9}  {step.result or ''}".rstrip()
