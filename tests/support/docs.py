"""The project's pages: their blocks, links, headings and flags, and a shell that runs their commands in this process.

A block is fenced and names its language. Directly above one that is not run stands `<!-- not run: why -->`.
"""

import contextlib
import io
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from tests.support import ROOT

PAGES = ("README.md", "CONTRIBUTING.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md")))
"""Those whose blocks are run. Links are checked on the others, too."""
ALL_PAGES = (*PAGES, "CHANGELOG.md", "benchmarks/README.md")

_FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>.+?) -->\n)?```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
_ASSIGNMENT = re.compile(r"(\w+)=\$\((.+)\)")
_PACKAGES = ("preprocess", "trainer", "deploy")


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    """Of its first line, counted from 1."""
    language: str
    text: str
    reason: str | None
    """Why it is not run."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    text = read(page)
    return [
        Block(
            page, text[: fence.start("text")].count("\n") + 1, fence["language"].strip(), fence["text"], fence["reason"]
        )
        for fence in _FENCE.finditer(text)
    ]


def prose(page: str) -> str:
    """The page without its blocks."""
    return _FENCE.sub("", read(page))


def links(page: str) -> list[str]:
    return _LINK.findall(prose(page))


def code_spans(page: str) -> list[str]:
    return _CODE.findall(prose(page))


def anchors(page: str) -> set[str]:
    """The headings' anchors as GitHub makes them: lower case, hyphens for spaces, no other punctuation."""
    taken: set[str] = set()
    for heading in _HEADING.findall(prose(page)):
        text = re.sub(r"[^\w\- ]", "", _LINK.sub(r"\1", heading).lower()).replace(" ", "-")
        number = 0
        while (anchor := f"{text}-{number}" if number else text) in taken:
            number += 1
        taken.add(anchor)
    return taken


@dataclass(frozen=True)
class Command:
    """One command of a block, and what the page shows that it prints."""

    line: str
    shown: tuple[str, ...] = ()


def commands(block: Block) -> list[Command]:
    """Those of a `bash` block, a line each; those behind `$` of a `console` block, with their output."""
    lines = block.text.replace("\\\n", "").splitlines()
    if block.language == "bash":
        return [Command(line) for line in lines if shlex.split(line, comments=True)]
    commands: list[Command] = []
    for line in lines:
        if line.startswith("$ "):
            commands.append(Command(line[2:]))
        else:
            commands[-1] = Command(commands[-1].line, (*commands[-1].shown, line))
    return commands


def is_shown(line: str, printed: str) -> bool:
    """Whether a line of a page is one that was printed, but for numbers, fingerprints and spaces; `…` is anything."""
    pattern = ".*".join(map(re.escape, _without_numbers(line).split("…")))
    return any(re.fullmatch(pattern, _without_numbers(text)) for text in printed.splitlines())


def _without_numbers(line: str) -> str:
    line = re.sub(r"\b[0-9a-f]{12}-[0-9a-f]{8}\b", "#", line)
    return " ".join(re.sub(r"\d[\d.,]*", "#", line).split())


@dataclass
class Shell:
    """Runs the few constructs that pages use: commands of ours, `make`, and `name=$(…)` with `$name` afterwards.

    `substitutions` replace what a page leaves to its reader. `added` are flags that a command, by its first words, gets
    besides. `before` is called with the words of each command.
    """

    substitutions: dict[str, str] = field(default_factory=dict)
    added: dict[str, str] = field(default_factory=dict)
    before: Callable[[list[str]], None] = lambda words: None
    variables: dict[str, str] = field(default_factory=dict)

    def replace(self, text: str) -> str:
        for old, new in self.substitutions.items():
            text = text.replace(old, new)
        return text

    def run(self, line: str) -> str:
        """Runs a command and returns its stdout. Raises AssertionError if its exit code is not 0."""
        if assignment := _ASSIGNMENT.fullmatch(line.strip()):
            self.variables[assignment[1]] = self.run(assignment[2]).splitlines()[-1]
            return self.variables[assignment[1]]
        words = [
            re.sub(r"\$(\w+)", lambda match: self.variables[match[1]], word)
            for word in shlex.split(self.replace(line), comments=True)
        ]
        if words[0] == "make":
            return "".join(map(self._run, make(words)))
        return self._run(words)

    def _run(self, words: Sequence[str]) -> str:
        program, option, package, *arguments = words
        assert (Path(program).name, option) == ("python", "-m"), f"{words}: no command of ours"
        if package == "pytest":  # of make
            return ""
        assert package in _PACKAGES, f"{words}: no command of ours"
        for name, flags in self.added.items():
            if " ".join([package, *arguments]).startswith(name):
                arguments += shlex.split(flags)
        self.before([package, *arguments])
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            code = import_module(f"{package}.main").main(arguments)
        assert code == 0, f"{shlex.join(words)}: exit code {code}"
        return printed.getvalue()


def make(words: list[str]) -> Iterator[list[str]]:
    """The commands of ours that `make` would run; all variables that are given must be in what it runs."""
    done = subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for variable in (word for word in words[1:] if "=" in word):
        assert variable.partition("=")[2] in done.stdout, f"{variable}: changes nothing"
    lines = [line for line in done.stdout.splitlines() if line.startswith(".venv/bin/python -m ")]
    assert lines, f"{words}: runs nothing"
    yield from map(shlex.split, lines)
