"""Patterns for settings that become part of an address, a name, a label or an argument in another system.

A setting declares its pattern as its type, as in `region: Region`. It is checked when the job description is read,
before anything is sent: a description may come from a bucket or from somebody else, but is read with the user's
credentials. A region such as `evil.example#` would otherwise become the host that receives the credentials. Bucket
names are checked wherever a gs:// path is used (`storage.check_bucket`).
"""

import re
from typing import Annotated

from common.marks import Rule
from common.storage import BUCKET_NAME


def _pattern(regex: str, meaning: str, longest: int = 512) -> Rule:
    """The rule that the whole text matches `regex`; `meaning` completes the message "must be …"."""
    return Rule(meaning, lambda text: len(text) <= longest and bool(re.fullmatch(regex, text, re.ASCII)))


def _name(first: str, others: str, longest: int) -> str:
    """A regex: one of the characters `first`, then up to `longest` - 1 `others`, the last a letter or digit."""
    return rf"{first}(?:{others}{{0,{longest - 2}}}[a-z0-9])?"


_LABEL = _name("[a-z0-9]", "[-a-z0-9]", 63)
_SUBDOMAIN = rf"{_LABEL}(?:\.{_LABEL})*"
_PROJECT = _name("[a-z0-9]", "[-a-z0-9.:]", 63)
_REGION = r"[a-z]{2,30}(?:-[a-z]{2,30}){1,3}\d{1,2}"
_HOST = r"[A-Za-z0-9][-A-Za-z0-9.]*(?::\d{1,5})?"
_IMAGE_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_TAG, _DIGEST = r"\w[-\w.]{0,127}", "sha256:[0-9a-f]{64}"
_LABEL_TEXT = r"[A-Za-z0-9](?:[-\w.]{0,61}[A-Za-z0-9])?"

JobName = Annotated[
    str,
    _pattern(
        _name("[a-z]", "[-a-z0-9]", 40),
        "at most 40 lower-case letters, digits and hyphens, the first a letter",
    ),
]
Project = Annotated[str, _pattern(_PROJECT, "a project id, such as my-project")]
Region = Annotated[str, _pattern(_REGION, "a region, such as europe-west4")]
Image = Annotated[
    str,
    _pattern(
        rf"(?:{_HOST}/)?{_IMAGE_PART}(?:/{_IMAGE_PART})*(?::{_TAG})?(?:@{_DIGEST})?",
        "a container image, such as europe-west4-docker.pkg.dev/my-project/ours/trainer:1",
    ),
]
MachineType = Annotated[str, _pattern(_LABEL, "a machine type, such as n2-standard-8")]
AcceleratorType = Annotated[str, _pattern(r"[A-Z][A-Z0-9_]{0,62}", "an accelerator type, such as NVIDIA_L4")]
GoogleAccount = Annotated[
    str,
    _pattern(
        r"[a-z0-9][-a-z0-9.]*@(?:[a-z0-9][-a-z0-9.]*\.)?gserviceaccount\.com",
        "a service account, such as trainer@my-project.iam.gserviceaccount.com",
    ),
]
TensorBoard = Annotated[
    str,
    _pattern(
        rf"projects/{_PROJECT}/locations/{_REGION}/tensorboards/\d+",
        "like projects/my-project/locations/europe-west4/tensorboards/123",
    ),
]
Subnetwork = Annotated[
    str,
    _pattern(
        rf"(?:https://www\.googleapis\.com/compute/v1/projects/{_PROJECT}/)?regions/{_LABEL}/subnetworks/{_LABEL}",
        "like regions/europe-west4/subnetworks/default",
    ),
]
BucketFolder = Annotated[str, _pattern(rf"gs://{BUCKET_NAME}(?:/[^\x00-\x1f\x7f]*)?", "a gs:// folder", longest=1024)]
Namespace = Annotated[str, _pattern(_LABEL, "a namespace, such as default")]
ObjectName = Annotated[str, _pattern(_SUBDOMAIN, "the name of an object in the cluster, such as trainer", longest=253)]
NodeLabel = Annotated[str, _pattern(rf"(?:{_SUBDOMAIN}/)?{_LABEL_TEXT}=(?:{_LABEL_TEXT})?", "name=value")]
