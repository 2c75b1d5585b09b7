"""Prefix indexes: prefix tables that never change, so that a new one can be made while the old one is asked.

As in `engine.prefixes` each prefix carries what it inherits from shorter ones, and a number's answer is one look-up.
The index is cut in parts by the first four digits. `edited` makes another index and works out only what differs: the
parts that do not are shared. No step of it takes long on its own, so another thread may make a million prefixes while
this one decides calls.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")
Merge = Callable[[tuple[T, ...], tuple[T, ...]], tuple[T, ...]]

HEAD = 4
"""Digits that name a part: country code and the first digits of an area, at most ten thousand parts."""

Edits = Mapping[str, Mapping[str, tuple[T, ...]]]
"""A prefix's new items by head (`head_of`) and prefix; none: the prefix goes."""

SHORT = ""
"""The head under which edits of prefixes of up to four digits stand."""


def head_of(prefix: str) -> str:
    """Where a prefix stands in `Edits`."""
    return prefix[:HEAD] if len(prefix) > HEAD else SHORT


class _Part(NamedTuple, Generic[T]):
    """The prefixes longer than a head, in order, with what they carry; their lengths, longest first."""

    carried: dict[str, tuple[T, ...]]
    lengths: tuple[int, ...]


class PrefixIndex(Generic[T]):
    """Items by prefix. Immutable.

    `prefix_of(item)` is where an item stands. `merge(inherited, own)` says what a prefix carries, given what the next
    shorter prefix carries and its own items; it must be pure, and keep all own items.
    """

    __slots__ = ("_merge", "_parts", "_prefix_of", "_short")

    def __init__(self, prefix_of: Callable[[T], str], merge: Merge[T]) -> None:
        """An empty index."""
        self._prefix_of = prefix_of
        self._merge = merge
        self._short: dict[str, tuple[T, ...]] = {}
        self._parts: dict[str, _Part[T]] = {}

    def __len__(self) -> int:
        """How many prefixes there are."""
        return len(self._short) + sum(len(part.carried) for part in self._parts.values())

    def find(self, number: str) -> tuple[T, ...]:
        """What the longest prefix of the number carries; empty when no prefix fits."""
        part = self._parts.get(number[:HEAD])
        if part is not None:
            carried, lengths = part
            for length in lengths:
                found = carried.get(number[:length])
                if found is not None:
                    return found
        return self._inherited(number)

    def depth(self, number: str) -> int:
        """How many digits of a number can matter: two numbers alike in so many find the same."""
        part = self._parts.get(number[:HEAD])
        return HEAD if part is None else part.lengths[0]

    def own(self, prefix: str) -> tuple[T, ...]:
        """The items that stand at this very prefix."""
        if len(prefix) <= HEAD:
            return self._own(self._short.get(prefix, ()), prefix)
        part = self._parts.get(prefix[:HEAD])
        return () if part is None else self._own(part.carried.get(prefix, ()), prefix)

    def items(self) -> Iterator[T]:
        """All items: those of short prefixes first."""
        for carried in (self._short, *(part.carried for part in self._parts.values())):
            for prefix, found in carried.items():
                yield from self._own(found, prefix)

    def edited(self, edits: Edits[T]) -> "PrefixIndex[T]":
        """Another index in which these prefixes have these items. What does not differ is shared."""
        other: PrefixIndex[T] = PrefixIndex(self._prefix_of, self._merge)
        other._short = self._edited_short(edits.get(SHORT, {}))
        other._parts = dict(self._parts)
        moved = other._short is not self._short
        # In a fixed order, whatever order the edits were gathered in.
        heads = sorted({*edits, *self._parts} if moved else edits)
        for head in heads:
            if head == SHORT:
                continue
            inherited = other._inherited(head)
            part = self._parts.get(head)
            if part is None:
                made = self._made({prefix: own for prefix, own in edits[head].items() if own}, inherited)
            elif moved and inherited is not self._inherited(head):
                made = self._made(self._owned(part, edits.get(head, {})), inherited)
            elif head in edits:
                made = self._edited_part(part, edits[head], inherited)
            else:
                continue
            if made is None:
                other._parts.pop(head, None)
            else:
                other._parts[head] = made
        return other

    def take_apart(self) -> Iterator[None]:
        """Frees the index in small steps: a million prefixes let go at once would stop everything else.

        Only the parts that no other index shares are freed. Nobody may ask the index any more.
        """
        self._short = {}
        while self._parts:
            _, part = self._parts.popitem()
            del part
            yield

    # What a prefix carries

    def _own(self, carried: tuple[T, ...], prefix: str) -> tuple[T, ...]:
        if not carried:
            return ()
        prefix_of = self._prefix_of
        if len(carried) == 1:
            return carried if prefix_of(carried[0]) == prefix else ()
        return tuple([item for item in carried if prefix_of(item) == prefix])

    def _inherited(self, number: str) -> tuple[T, ...]:
        """What the longest of the short prefixes carries."""
        short = self._short
        for length in (4, 3, 2, 1, 0):
            found = short.get(number[:length])
            if found is not None:
                return found
        return ()

    def _edited_short(self, edits: Mapping[str, tuple[T, ...]]) -> dict[str, tuple[T, ...]]:
        if not edits:
            return self._short
        merge = self._merge
        own = {prefix: self._own(carried, prefix) for prefix, carried in self._short.items()}
        own.update(edits)
        made: dict[str, tuple[T, ...]] = {}
        below = tuple(edits)
        for prefix in sorted(own):
            if not own[prefix]:
                continue
            if prefix.startswith(below):
                inherited: tuple[T, ...] = ()
                for length in range(len(prefix) - 1, -1, -1):
                    found = made.get(prefix[:length])
                    if found is not None:
                        inherited = found
                        break
                made[prefix] = merge(inherited, own[prefix])
            else:
                # The very same object: the parts below it are not touched.
                made[prefix] = self._short[prefix]
        return made

    def _owned(self, part: _Part[T], edits: Mapping[str, tuple[T, ...]]) -> dict[str, tuple[T, ...]]:
        """All prefixes of a part with their own items, after the edits."""
        own = {prefix: self._own(carried, prefix) for prefix, carried in part.carried.items()}
        for prefix, items in edits.items():
            if items:
                own[prefix] = items
            else:
                own.pop(prefix, None)
        return own

    def _made(self, own: Mapping[str, tuple[T, ...]], inherited: tuple[T, ...]) -> _Part[T] | None:
        if not own:
            return None
        carried: dict[str, tuple[T, ...]] = {}
        self._carry(sorted(own), own.__getitem__, inherited, carried)
        return _Part(carried, _lengths(carried))

    def _edited_part(
        self, part: _Part[T], edits: Mapping[str, tuple[T, ...]], inherited: tuple[T, ...]
    ) -> _Part[T] | None:
        if len(edits) * 8 > len(part.carried):
            return self._made(self._owned(part, edits), inherited)
        # A few edits: a copy in which only what lies at and below them is worked out anew.
        before = part.carried
        ordered = list(before)
        carried = dict(before)
        added: list[str] = []
        for prefix, items in edits.items():
            if not items:
                carried.pop(prefix, None)
            elif prefix not in before:
                added.append(prefix)
                carried[prefix] = items  # its place; what it carries comes below
        edited = sorted(edits)
        place = 0
        while place < len(edited):
            prefix = edited[place]
            first = bisect_left(ordered, prefix)
            last = bisect_left(ordered, _after(prefix), first)
            mine = {other: self._own(before[other], other) for other in ordered[first:last]}
            while place < len(edited) and edited[place].startswith(prefix):
                mine[edited[place]] = edits[edited[place]]
                place += 1
            of = [other for other in sorted(mine) if mine[other]]
            self._carry(of, mine.__getitem__, _above(prefix, carried, inherited), carried)
        if not carried:
            return None
        if added:
            carried = {prefix: carried[prefix] for prefix in sorted(carried)}
        return _Part(carried, _lengths(carried))

    def _carry(
        self,
        ordered: Iterable[str],
        own: Callable[[str], tuple[T, ...]],
        inherited: tuple[T, ...],
        carried: dict[str, tuple[T, ...]],
    ) -> None:
        """Works out what each prefix carries; in sorted order a prefix comes after those that it begins with."""
        merge = self._merge
        covering: list[tuple[str, tuple[T, ...]]] = []
        for prefix in ordered:
            while covering and not prefix.startswith(covering[-1][0]):
                covering.pop()
            carried[prefix] = found = merge(covering[-1][1] if covering else inherited, own(prefix))
            covering.append((prefix, found))


def _after(prefix: str) -> str:
    """The first text behind all that begin with the prefix: ":" comes after "9"."""
    return prefix + ":"


def _above(prefix: str, carried: Mapping[str, tuple[T, ...]], inherited: tuple[T, ...]) -> tuple[T, ...]:
    """What the next shorter prefix carries."""
    for length in range(len(prefix) - 1, HEAD, -1):
        found = carried.get(prefix[:length])
        if found is not None:
            return found
    return inherited


def _lengths(prefixes: Iterable[str]) -> tuple[int, ...]:
    return tuple(sorted(set(map(len, prefixes)), reverse=True))
