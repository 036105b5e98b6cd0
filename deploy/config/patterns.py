"""What settings must look like that become part of an address, a name, a label or an argument somewhere else.

A setting says so in its type, as `region: Region`, and is checked when the job description is read, before anything is
sent: a description may come from a bucket or from somebody else, and is read with the user's credentials. A region such
as `evil.example#` would otherwise be the host that these go to. Names of buckets are checked wherever a path is one
(`storage.check_bucket`).
"""

import re
from typing import Annotated

from common.marks import Rule
from common.storage import BUCKET_NAME


def _pattern(regex: str, meaning: str, longest: int = 512) -> Rule:
    """A text that matches `regex` as a whole, which is `meaning` in words."""
    return Rule(meaning, lambda text: len(text) <= longest and bool(re.fullmatch(regex, text, re.ASCII)))


def _name(first: str, others: str, longest: int) -> str:
    """Begins with one of the characters `first`, ends with a letter or digit, and has `others` in between."""
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
Project = Annotated[str, _pattern(_PROJECT, "the id of a project, as my-project")]
Region = Annotated[str, _pattern(_REGION, "the name of a region, as europe-west4")]
Image = Annotated[
    str,
    _pattern(
        rf"(?:{_HOST}/)?{_IMAGE_PART}(?:/{_IMAGE_PART})*(?::{_TAG})?(?:@{_DIGEST})?",
        "the name of an image, as europe-west4-docker.pkg.dev/my-project/ours/trainer:1",
    ),
]
MachineType = Annotated[str, _pattern(_LABEL, "the name of a machine type, as n2-standard-8")]
AcceleratorType = Annotated[str, _pattern(r"[A-Z][A-Z0-9_]{0,62}", "the name of an accelerator, as NVIDIA_L4")]
GoogleAccount = Annotated[
    str,
    _pattern(
        r"[a-z0-9][-a-z0-9.]*@(?:[a-z0-9][-a-z0-9.]*\.)?gserviceaccount\.com",
        "the address of a service account, as trainer@my-project.iam.gserviceaccount.com",
    ),
]
TensorBoard = Annotated[
    str,
    _pattern(
        rf"projects/{_PROJECT}/locations/{_REGION}/tensorboards/\d+",
        "as projects/my-project/locations/europe-west4/tensorboards/123",
    ),
]
Subnetwork = Annotated[
    str,
    _pattern(
        rf"(?:https://www\.googleapis\.com/compute/v1/projects/{_PROJECT}/)?regions/{_LABEL}/subnetworks/{_LABEL}",
        "as regions/europe-west4/subnetworks/default",
    ),
]
BucketFolder = Annotated[str, _pattern(rf"gs://{BUCKET_NAME}(?:/[^\x00-\x1f\x7f]*)?", "a gs:// folder", longest=1024)]
Namespace = Annotated[str, _pattern(_LABEL, "the name of a namespace, as default")]
ObjectName = Annotated[str, _pattern(_SUBDOMAIN, "the name of an object in the cluster, as trainer", longest=253)]
NodeLabel = Annotated[str, _pattern(rf"(?:{_SUBDOMAIN}/)?{_LABEL_TEXT}=(?:{_LABEL_TEXT})?", "name=value")]
