"""What ``confiture_fix`` prints: JSON, lines for the terminal, Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from django_confiture.fix.outcomes import BreakLeft, Fix, OperationOutcome, Proof
from django_confiture.formatting import count, duration, listed


def document_of(fix: Fix) -> dict[str, object]:
    """Return what is known of a fix, as the JSON has it."""
    return {
        "migration": fix.migration,
        "operations": [
            {
                "index": each.index,
                "description": each.description,
                "finding": each.finding,
                "outcome": each.outcome,
                "reason": each.reason,
            }
            for each in fix.operations
        ],
        "files": [asdict(each) for each in fix.files],
        "proof": None if fix.proof is None else _proof_document(fix.proof),
    }


def _proof_document(proof: Proof) -> dict[str, object]:
    keys = (
        "schema_equal", "state_equal", "rows_equal", "dangers_before", "dangers_after",
        "blocked_ms_before", "blocked_ms_after", "running_code_breaks_after", "reversible",
    )  # fmt: skip
    document = {key: getattr(proof, key) for key in keys}
    document["running_code_breaks_left"] = [asdict(each) for each in proof.running_code_breaks_left]
    lists = ("not_compared", "differences")
    return {**document, **{key: list(getattr(proof, key)) for key in lists}}


def lines_of(fix: Fix, *, written: bool, with_files: bool) -> Iterator[str]:
    """Yield the lines of a fix for the terminal."""
    yield fix.migration
    yield from _operation_lines(fix.operations)
    if fix.proof is None:
        yield "Nothing could be fixed."
        return
    yield from _proof_lines(fix.proof)
    if not fix.proof.holds:
        app_label, _, name = fix.migration.partition(".")
        command = f"manage.py confiture_fix {app_label} {name}{fix.of_database} --reduced-case"
        yield (
            f"The proof failed, so nothing is written. Please report it: {command} prints the case "
            "without names and values."
        )
        return
    for file in fix.files if with_files else ():
        yield f"\n# {'Written: ' if written else ''}{file.name}.py"
        if not written:
            yield file.source
    yield from _order_of_releases(fix)


def _operation_lines(operations: Sequence[OperationOutcome]) -> Iterator[str]:
    """Yield what becomes of each operation; a reason of several once, below the last of them."""
    for each in operations:
        about = f" ({each.finding})" if each.finding else ""
        yield f"  {each.outcome:8} {each.index + 1}. {each.description}{about}"
        alike = [other.index for other in operations if other.reason == each.reason]
        if each.reason and each.index == alike[-1]:
            numbers = [f"{index + 1}" for index in alike]
            which = f"{listed(numbers)}: " if len(alike) > 1 else ""
            yield f"           {which}{each.reason}"


def _order_of_releases(fix: Fix) -> Iterator[str]:
    """Yield what to run with which release, where some files wait for the next one."""
    app_label = fix.migration.partition(".")[0]
    now = [each.name for each in fix.files if not each.next_release]
    if now and len(now) < len(fix.files):
        migrate = f"manage.py migrate {app_label}"
        yield (
            f"\nApply with this release: {migrate} {now[-1]}{fix.of_database}. The files after it "
            f"wait for the next release: {migrate}{fix.of_database}."
        )


def _proof_lines(proof: Proof) -> Iterator[str]:
    words = {True: "equal", False: "NOT EQUAL"}
    yield (
        f"Schema {words[proof.schema_equal]}, models {words[proof.state_equal]}, rows "
        f"{words[proof.rows_equal]}; "
        + ("reversible as before." if proof.reversible else "NOT REVERSIBLE as before.")
    )
    yield (
        f"Dangers: {proof.dangers_before} before, {proof.dangers_after} after. The longest block: "
        f"{duration(proof.blocked_ms_before)} before, {duration(proof.blocked_ms_after)} after. "
        f"Breaks of running code: {proof.running_code_breaks_before} before, "
        f"{proof.running_code_breaks_after} after."
    )
    yield from (f"  Left: {_break_left(each)}." for each in proof.running_code_breaks_left)
    if proof.not_compared:
        yield (
            f"Not compared, since the original writes other values each time: "
            f"{listed(proof.not_compared)}."
        )
    for each in proof.differences:
        yield f"  {each}"


def _break_left(each: BreakLeft) -> str:
    """Return in words what running code loses with the files, too, and why."""
    whose = "the next release's code" if each.next_release else "the running release"
    what = f"{each.action} {each.model}" if each.model else "run a query of production"
    return (
        f"{whose} can no longer {what} once {each.file} is applied: {each.error}. "
        f"Why: {each.reason}"
    )


def markdown_of(fix: Fix, path: str, *, suggestion: Sequence[str] = ()) -> Iterator[str]:
    """Yield a comment for the pull request that brings the migration in ``path``.

    ``suggestion`` stands for the last file, where the comment is about lines of the old one.
    """
    yield f"### {fix.migration}"
    yield ""
    if fix.proof is not None and fix.proof.holds:
        yield from _markdown_of_files(fix, fix.proof, path, suggestion)
    refused = [each for each in fix.operations if each.outcome == "refused"]
    for reason in dict.fromkeys(each.reason for each in refused):
        alike = [f"`{each.description}`" for each in refused if each.reason == reason]
        stay = "stay as they are" if len(alike) > 1 else "stays as it is"
        yield f"- {listed(alike)} {stay}: {reason}"
    if fix.proof is None:
        yield "Nothing could be fixed."
    elif not fix.proof.holds:
        yield f"A fix was made, and its proof failed: {listed(fix.proof.differences)}"
    yield ""


def _markdown_of_files(
    fix: Fix, proof: Proof, path: str, suggestion: Sequence[str]
) -> Iterator[str]:
    yield (
        f"It blocks others for {duration(proof.blocked_ms_before)} on this database; as "
        f"{count(len(fix.files), 'file')} it blocks them for at most "
        f"{duration(proof.blocked_ms_after)}. Both were rehearsed: schema, models and rows are "
        "equal."
    )
    yield ""
    yield from (f"- Left: {_break_left(each)}." for each in proof.running_code_breaks_left)
    yield from _order_of_releases(fix)
    directory = path.rpartition("/")[0]
    for file in fix.files[:-1]:
        yield f"<details><summary>new: <code>{directory}/{file.name}.py</code></summary>"
        yield from ("", "```python", file.source.rstrip(), "```", "", "</details>", "")
    if suggestion:
        yield from ("The last one keeps the name:", "", *suggestion, "")
        return
    yield f"`{path}`, all of it:"
    yield from ("", "```python", fix.files[-1].source.rstrip(), "```", "")


def reduced_case_of(fix: Fix, versions: Sequence[str]) -> Iterator[str]:
    """Yield what to report of a proof that failed, without the project's names."""
    if fix.reduced is None:
        why = "nothing could be fixed" if fix.proof is None else "its proof holds"
        yield f"{fix.migration} has nothing to report: {why}."
        return
    yield f"confiture_fix, a proof that failed ({', '.join(versions)})"
    for title, steps in (("Original", fix.reduced.original), ("Files", fix.reduced.files)):
        yield f"\n{title}:"
        for step in steps:
            yield f"  {step.words}"
            yield from (f"    {each}" for each in step.statements)
    assert fix.proof is not None
    yield "\nProof:"
    yield from (f"  {line}" for line in _figures(fix.proof))
    yield from (f"  {each}" for each in fix.reduced.differences)


def _figures(proof: Proof) -> Iterator[str]:
    document = _proof_document(proof)
    yield from (f"{key}: {value}" for key, value in document.items() if not isinstance(value, list))


def summary_of(fixes: Sequence[Fix], *, written: bool) -> str:
    """Return one line about several migrations."""
    fixable = [each.migration for each in fixes if each.proof is not None and each.proof.holds]
    if not fixable:
        return f"None of {count(len(fixes), 'migration')} could be fixed."
    said = f"{'Fixed' if written else 'Can be fixed, with --write'}: {listed(fixable)}."
    match len(fixes) - len(fixable):
        case 0:
            return said
        case 1:
            return f"{said} 1 migration stays as it is."
        case rest:
            return f"{said} {rest} migrations stay as they are."
