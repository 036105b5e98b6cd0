"""What can be wrong with a picture: codes for programs, and messages for people, to be put after the picture's name."""

MESSAGES = {
    "several": "shows more than one character",
    "cut-off": "shows writing that is cut off at the edge",
    "low-contrast": "shows writing that hardly stands out from the paper",
    "polarity": "does not show which is the writing and which the paper",
    "too-narrow": "is too narrow for a line of text",
    "vertical": "is steeper than lines that are read",
    "no-place": "has no polygon, baseline or box",
    "outside": "lies outside of the picture",
    "too-small": "is too small to be read",
    "bad-page": "is a page that cannot be read",
    "no-ink": "shows no writing",
    "too-large": "has more pixels than are read",
    "not-a-picture": "is not a picture",
    "cannot-decode": "cannot be decoded; the file is damaged",
    "unknown-format": "is a picture of a format that is not read; save it as PNG or JPEG",
}
"""By code."""
DOUBTS = frozenset(("several", "cut-off", "low-contrast", "polarity", "too-narrow"))
"""The codes that come with a reading, which is never accepted; the others come without one."""
