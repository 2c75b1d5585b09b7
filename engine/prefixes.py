"""Prefix tables: the trie of digits behind prices and locks, kept as one dict probed from the longest prefix down.

Each prefix carries what it inherits from shorter ones, so that a number's answer is one look-up however many lists or
masks take part. What is carried is worked out when the table changes: a change of one prefix touches only the longer
prefixes that begin with it.

A head (the first four digits) remembers which longer lengths exist below it, so a look-up probes two or three lengths
and not fifteen.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")

_HEAD = 4  # country code and the first digits of an area: at most ten thousand heads


class PrefixTable(Generic[T]):
    """Items by prefix.

    `prefix_of(item)` is where an item stands. `merge(inherited, own)` says what a prefix carries, given what the next
    shorter prefix carries and its own items; it must be pure, and keep all own items.
    """

    __slots__ = ("_carried", "_heads", "_merge", "_prefix_of")

    def __init__(
        self,
        prefix_of: Callable[[T], str],
        merge: Callable[[tuple[T, ...], tuple[T, ...]], tuple[T, ...]],
        items: dict[str, tuple[T, ...]] | None = None,
    ) -> None:
        """`items` by prefix fill the table at once; the dict becomes the table's own."""
        self._prefix_of = prefix_of
        self._merge = merge
        self._carried: dict[str, tuple[T, ...]] = {} if items is None else items
        self._heads: dict[str, _Head] = {}
        self._inherit_all()

    def __len__(self) -> int:
        return len(self._carried)

    def find(self, number: str) -> tuple[T, ...]:
        """What the longest prefix of the number carries; empty when no prefix fits."""
        carried = self._carried
        if (head := self._heads.get(number[:_HEAD])) is not None:
            for length in head.lengths:
                found = carried.get(number[:length])
                if found is not None:
                    return found
        for length in (4, 3, 2, 1, 0):
            found = carried.get(number[:length])
            if found is not None:
                return found
        return ()

    def depth(self, number: str) -> int:
        """How many digits of a number can matter: two numbers alike in so many find the same."""
        head = self._heads.get(number[:_HEAD])
        return _HEAD if head is None else head.lengths[0]

    def own(self, prefix: str) -> tuple[T, ...]:
        """The items that stand at this very prefix."""
        return tuple(item for item in self._carried.get(prefix, ()) if self._prefix_of(item) == prefix)

    def put(self, item: T) -> None:
        """Adds an item at its prefix, beside what stands there."""
        prefix = self._prefix_of(item)
        self.replace(prefix, (*self.own(prefix), item))

    def remove(self, item: T) -> bool:
        """Takes an item away; False when it is not there."""
        prefix = self._prefix_of(item)
        own = self.own(prefix)
        left = tuple(other for other in own if other is not item)
        if len(left) == len(own):
            return False
        self.replace(prefix, left)
        return True

    def replace(self, prefix: str, own: tuple[T, ...]) -> None:
        """Puts these items, all of this prefix, in the place of those that stand there; none: the prefix goes."""
        # Longer prefixes are worked out anew from the shortest on; their own items must be read before that.
        below = [(longer, self.own(longer)) for longer in self._below(prefix)]
        if not own:
            if self._carried.pop(prefix, None) is not None:
                self._forget(prefix)
        else:
            if prefix not in self._carried:
                self._remember(prefix)
            self._carried[prefix] = self._merge(self._inherited(prefix), own)
        for longer, owned in below:
            self._carried[longer] = self._merge(self._inherited(longer), owned)

    def items(self) -> Iterable[T]:
        """All items, in the order of their prefixes."""
        for prefix in sorted(self._carried):
            yield from self.own(prefix)

    def _inherited(self, prefix: str) -> tuple[T, ...]:
        return self.find(prefix[:-1]) if prefix else ()

    def _below(self, prefix: str) -> list[str]:
        """The longer prefixes that begin with this one, each after those that it begins with."""
        if len(prefix) >= _HEAD:
            head = self._heads.get(prefix[:_HEAD])
            if head is None:
                return []
            start = bisect_left(head.longer, prefix)
            end = bisect_left(head.longer, prefix + ":", start)  # ":" comes after "9"
            return [other for other in head.longer[start:end] if other != prefix]
        found = []
        for length in range(1, _HEAD + 1 - len(prefix)):
            for number in range(10**length):
                other = f"{prefix}{number:0{length}d}"
                if other in self._carried:
                    found.append(other)
        for name, head in self._heads.items():
            if name.startswith(prefix):
                found += head.longer
        return sorted(found)

    def _remember(self, prefix: str) -> None:
        if len(prefix) > _HEAD:
            head = self._heads.get(prefix[:_HEAD])
            if head is None:
                head = self._heads[prefix[:_HEAD]] = _Head()
            insort(head.longer, prefix)
            head.count(len(prefix), 1)

    def _forget(self, prefix: str) -> None:
        if len(prefix) > _HEAD:
            head = self._heads[prefix[:_HEAD]]
            head.longer.pop(bisect_left(head.longer, prefix))
            head.count(len(prefix), -1)
            if not head.longer:
                del self._heads[prefix[:_HEAD]]

    def _inherit_all(self) -> None:
        """Works out what each prefix carries; in sorted order a prefix comes after those that it begins with."""
        merge, carried = self._merge, self._carried
        covering: list[tuple[str, tuple[T, ...]]] = []
        name, head = "", _Head()
        for prefix in sorted(carried):
            while covering and not prefix.startswith(covering[-1][0]):
                covering.pop()
            found = merge(covering[-1][1] if covering else (), carried[prefix])
            carried[prefix] = found
            covering.append((prefix, found))
            if len(prefix) > _HEAD:
                if prefix[:_HEAD] != name:
                    name = prefix[:_HEAD]
                    head = self._heads[name] = _Head()
                head.longer.append(prefix)
                head.counts[len(prefix)] = head.counts.get(len(prefix), 0) + 1
        for head in self._heads.values():
            head.lengths = tuple(sorted(head.counts, reverse=True))


class _Head:
    """What lies below the first four digits: the longer prefixes in order, and their lengths, longest first."""

    __slots__ = ("counts", "lengths", "longer")

    def __init__(self) -> None:
        self.longer: list[str] = []
        self.lengths: tuple[int, ...] = ()
        self.counts: dict[int, int] = {}

    def count(self, length: int, change: int) -> None:
        """One prefix of a length more, or less."""
        before = self.counts.get(length, 0)
        self.counts[length] = before + change
        if before == 0 or before + change == 0:
            if before + change == 0:
                del self.counts[length]
            self.lengths = tuple(sorted(self.counts, reverse=True))
