"""Pictures as people take them of one handwritten character: photographs, scans and drawings, as encoded files.

`KINDS` names the sorts, and `photograph` makes one; the other modules are what they are made of: `sheet` (where the
character stands, its strokes and its paper), `surroundings` (light, rules, frames, dirt) and `files` (encoding).
"""

from common.photographs.kinds import KINDS, photograph

__all__ = ["KINDS", "photograph"]
