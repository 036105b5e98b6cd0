"""The model card of a run of the lines task; see `model_card`."""

from common.normalize import line
from trainer.reporting import model_card, pages
from trainer.runs.run_folder import Results


def render(results: Results) -> str:
    """The card of a run's SavedModel, in Markdown."""
    lines = results.run_info["dataset"]["lines"]
    return pages.render(
        "line_card.md.j2",
        **model_card.common_values(results),
        height=results.schema.image_shape[0],
        conversion_version=line.VERSION,
        group=lines["group_by"] if lines else "group",
        unseen=results.schema.unseen,
    )
