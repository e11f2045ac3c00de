"""Compare two stored runs."""

from dataclasses import dataclass
from pathlib import Path

from kisbt.model.result import RunResult
from kisbt.report.compare import Comparison, compare, number_rows, render_comparison
from kisbt.report.folder import read_run, write_text
from kisbt.report.metrics import Summary, summarise


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two runs and what differs.

    Attributes:
        folders: of the runs.
        results: the runs.
        summaries: their numbers, computed afresh, so that both follow the same
            formulas.
        found: see `kisbt.report.compare.compare`.
    """

    folders: tuple[Path, Path]
    results: tuple[RunResult, RunResult]
    summaries: tuple[Summary, Summary]
    found: Comparison

    @property
    def numbers(self) -> list[dict[str, str]]:
        """The numbers of both as text, in the language in force."""
        return number_rows(self.found, *self.summaries)


def compare_runs(first: Path, second: Path) -> Compared:
    """Read two run folders and compare them.

    Raises:
        InputError: one of them is no run folder, or damaged.
    """
    results = (read_run(first), read_run(second))
    summaries = (summarise(results[0]), summarise(results[1]))
    return Compared(
        folders=(first, second),
        results=results,
        summaries=summaries,
        found=compare(*results, *summaries),
    )


def write_comparison(compared: Compared, path: Path, *, language: str) -> Path:
    """Write the page that shows both runs; return its path.

    Raises:
        StorageError: it could not be written; an older page is untouched.
    """
    first, second = compared.folders
    page = render_comparison(
        *compared.results,
        compared.summaries,
        names=(first.resolve().name, second.resolve().name),
        language=language,
    )
    write_text(path, page)
    return path
