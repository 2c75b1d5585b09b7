"""Tables that commands print: an id in them is whole, since people copy it from there."""

from io import StringIO

import pytest
from rich.console import Console

from connectors.cli import app as cli

ID = "0f3c9a1e-5b7d-4c21-9d3e-aa10b2c3d4e5"
LONG = "x" * 120
WORDS = "a long reason that goes on and on and is broken at its blanks, wherever the terminal ends"
COLUMNS = ("attempt", "at", "account", "why")


def printed(monkeypatch: pytest.MonkeyPatch, *rows: tuple[str, ...], width: int = 80, terminal: bool = True) -> str:
    monkeypatch.delenv("COLUMNS", raising=False)
    file = StringIO()
    monkeypatch.setattr(cli, "out", Console(file=file, width=width, force_terminal=terminal, color_system=None))
    cli.print_table("Calls", COLUMNS, rows)
    return file.getvalue()


def test_an_id_stays_on_one_line_beside_words_that_are_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(monkeypatch, (ID, "2026-11-24", "100200", WORDS), ("a-1", "2026-11-25", "100201", "ok"))

    assert ID in text
    assert "2026-11-24" in text
    assert max(map(len, text.splitlines())) <= 80
    assert all(word in text for word in WORDS.split())


@pytest.mark.parametrize("width", [20, 40, 80])
def test_what_is_wider_than_the_terminal_is_folded_and_not_cut(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    text = printed(monkeypatch, (LONG, "2026-11-24", "100200", WORDS), width=width)

    assert text.count("x") == 120
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


def test_a_pipe_gets_a_row_on_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(monkeypatch, (ID, "2026-11-24", "100200", WORDS), (LONG, "", "", ""), terminal=False)

    assert [ID in line and WORDS in line for line in text.splitlines()].count(True) == 1
    assert LONG in text
    assert len(text.splitlines()) == len(("title", "edge", "header", "edge", "a row", "a row", "edge"))


def test_square_brackets_are_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "[b]x[/b]" in printed(monkeypatch, ("[b]x[/b]", "", "", ""))
