"""`tollgate convert`: CDR files of switches to `cdr` events on standard output."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import cyclopts

from connectors.cli.app import Refused, app, err
from connectors.convert import BadRow, ConvertSettings, CsvMapping, MappingError, NumberRule, load_mapping
from connectors.convert import convert as read_file
from schemas.codec import encode


@app.command
def convert(
    *files: Path,
    format_: Annotated[Literal["asterisk", "freeswitch", "csv"], cyclopts.Parameter(name="--format")],
    mapping: Annotated[Path | None, cyclopts.Parameter(help="TOML file: columns of the csv format.")] = None,
    switch: Annotated[str, cyclopts.Parameter(help="Whose files these are.")] = "switch",
    time_zone: Annotated[str, cyclopts.Parameter(help="Of local times; UTC suits usegmtime=yes.")] = "UTC",
    service: Annotated[str, cyclopts.Parameter(help="Of calls whose context is not named.")] = "outgoing",
    context: Annotated[tuple[str, ...], cyclopts.Parameter(help="CONTEXT=SERVICE; may be repeated.")] = (),
    provider: Annotated[tuple[str, ...], cyclopts.Parameter(help="TRUNK=PROVIDER; may be repeated.")] = (),
    trunks_are_providers: Annotated[bool, cyclopts.Parameter(help="An unnamed trunk is its own provider.")] = False,
    account: Annotated[str | None, cyclopts.Parameter(help="Of calls that name none.")] = None,
    place: Annotated[str | None, cyclopts.Parameter(help="Place of service.")] = None,
    legs: Annotated[Literal["a", "b", "both"], cyclopts.Parameter(help="FreeSWITCH legs that become CDRs.")] = "a",
    numbers_as_written: Annotated[bool, cyclopts.Parameter(help="Numbers are E.164 already.")] = False,
) -> int:
    """Convert CDR files to JSON lines on standard output; rows that can't be read are told on standard error.

    The exit code is 1 if any row could not be read; the others are there all the same.
    """
    if not files:
        raise Refused("name at least one CDR file")
    for path in files:
        if not path.is_file():
            raise Refused(f"{path}: no such file" if not path.exists() else f"{path}: is not a file")
    try:
        settings = ConvertSettings(
            switch_id=switch,
            service=service,
            services=_pairs("--context", context),
            numbers=None if numbers_as_written else NumberRule(),
            time_zone=time_zone,
            default_account_id=account,
            providers=_pairs("--provider", provider),
            keep_unmapped_trunks=trunks_are_providers,
            place=place,
            legs=legs,
        )
    except ValueError as error:
        raise Refused(str(error)) from None
    columns = _mapping(format_, mapping)
    bad = skipped = good = 0
    for path in files:
        try:
            for row in read_file(format_, path, settings, columns):
                if not isinstance(row, BadRow):
                    sys.stdout.buffer.write(encode(row) + b"\n")
                    good += 1
                elif row.skipped:
                    skipped += 1
                else:
                    err.print(f"{path}:{row.line}: {row.message}", markup=False, soft_wrap=True)
                    bad += 1
        except MappingError as error:
            raise Refused(f"{path}: {error}") from None
        except BrokenPipeError:
            raise
        except OSError as error:
            raise Refused(f"{path}: {error}") from None
    sys.stdout.flush()
    err.print(f"{good} CDRs, {skipped} left out (other legs), {bad} rows that could not be read", markup=False)
    return 1 if bad else 0


def _pairs(name: str, words: Iterable[str]) -> dict[str, str]:
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals and value):
            raise Refused(f"{name} {word!r}: write it as NAME=VALUE")
        found[key] = value
    return found


def _mapping(format_: str, path: Path | None) -> CsvMapping | None:
    if format_ != "csv":
        if path is not None:
            raise Refused(f"--mapping is for --format csv only; {format_} files say what their fields are")
        return None
    if path is None:
        raise Refused("--format csv needs --mapping FILE, which says what its columns are")
    try:
        return load_mapping(path)
    except OSError as error:
        raise Refused(f"{path}: {error}") from None
    except MappingError as error:
        listed = "\n  ".join(error.problems)
        raise Refused(f"{path} can't be used:\n  {listed}") from None
