"""What happens with a session's results at its end: kept, compared with earlier ones, written for others."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping, Sequence

from snnrepro.checking import exports
from snnrepro.checking.changes import Limit, changes, limit
from snnrepro.checking.results import Result, Results, as_plain, from_plain, made_here, read, result_of, write
from snnrepro.checking.subject import Subject
from snnrepro.checking.summary import as_text, changes_as_text
from snnrepro.errors import DataError


@dataclass
class Session:
    """The results of one session, from all of its workers.

    Attributes
    ----------
    folder : Path
        Of the project: its checkout says of which commit the results are.
    save, reference : Path or None
        The file to write, and that of earlier results.
    before : Results or None
        What that one holds.
    limits : sequence of Limit
        How much worse figures may get.
    exported : sequence of Path
        Files for machines and pages.
    models : dict of str to Result
        What was measured.
    """

    folder: Path
    save: Path | None = None
    reference: Path | None = None
    before: Results | None = None
    limits: Sequence[Limit] = ()
    exported: Sequence[Path] = ()
    models: dict[str, Result] = field(default_factory=dict)

    @classmethod
    def of_options(
        cls, folder: Path, save: str | None, compare: str | None, fail: Sequence[str], export: Sequence[str]
    ) -> Session:
        """Return a session for the options of the command line; what cannot be used is refused before any work.

        Raises
        ------
        DataError
            A limit says nothing or has nothing to be compared with, the earlier results cannot be read, or a file's
            name asks for no form that there is.
        """
        if fail and compare is None:
            raise DataError("--snn-fail needs earlier results: --snn-compare REF.json")
        reference = None if compare is None else Path(compare).absolute()  # a test may go elsewhere before the end
        session = cls(
            folder,
            None if save is None else Path(save).absolute(),
            reference,
            None if reference is None else read(reference),
            [limit(text) for text in fail],
            [Path(path).absolute() for path in export],
        )
        for path in session.exported:
            exports.require_known(path)
        return session

    def add(self, plain: Mapping[str, Any]) -> None:
        """Take the results of a worker, as `sent` has them."""
        for name, one in plain.items():
            result, before = from_plain(one), self.models.get(name)
            if before is not None:  # each worker ran some of the checks
                figures = {**before.figures, **result.figures}
                judged = result if result.counts is not None else before
                result = Result(figures, judged.task, judged.images, judged.counts)
            self.models[name] = result

    def finish(self, width: int) -> tuple[list[str], bool]:
        """Write and compare what was measured; return the lines that say so, and whether something got too bad."""
        if not self.models:
            nothing = "nothing was measured"
            return ([nothing] if self.save or self.reference or self.exported else []), bool(self.limits)
        lines = [as_text({name: result.figures for name, result in sorted(self.models.items())}, width)]
        results = Results(dict(sorted(self.models.items())), made_here(self.folder))
        changed, failed = [], False
        before = self.before
        if before is not None:
            made = ", ".join(str(before.made[key])[:19] for key in ("date", "commit") if before.made.get(key))
            lines.append(f"beside {self.reference} ({made}):")
            try:
                changed = changes(before, results, self.limits)
                failed = any(one.is_too_much for one in changed)
                lines += [changes_as_text(changed, width), *_asides(before, results)]
            except DataError as error:
                lines.append(str(error))
                failed = bool(self.limits)
            if failed:
                beyond = ", ".join(f"{one.model} {one.limit}" for one in changed if one.is_too_much)
                lines.append(f"worse than it may be: {beyond or 'nothing could be compared'}")
        for path in self.exported:
            exports.write(path, results, changed)
            lines.append(f"written: {path}")
        if self.save is not None and failed and self.save == self.reference:
            lines.append(f"not written: {self.save}, which would make the worse figures the reference")
        elif self.save is not None:
            write(results, self.save)
            lines.append(f"written: {self.save}")
        return lines, failed


def sent(subjects: Mapping[str, Subject]) -> dict[str, Any]:
    """Return what was measured of models, as a worker sends it."""
    return {name: as_plain(result_of(subject)) for name, subject in subjects.items() if subject.figures}


def _asides(before: Results, now: Results) -> list[str]:
    """Return what the table cannot say: models of one side alone, and other images."""
    lines = []
    for side, there, other in (("the reference", before, now), ("this session", now, before)):
        only = sorted(set(there.models) - set(other.models))
        if only:
            lines.append(f"only in {side}: {', '.join(only)}")
    unpaired = [
        name
        for name in sorted(set(before.models) & set(now.models))
        if before.models[name].images != now.models[name].images
    ]
    if unpaired:
        lines.append(f"judged on other images than in the reference, and so not image by image: {', '.join(unpaired)}")
    return lines
