"""A consumer group: who is a member, which generation it is, and who reads which partitions.

The rebalance is eager, as Kafka's classic protocol has it: when a member comes or goes, all members give up all
partitions and join again; once the last of them has, the new generation begins. A member joins again when it polls, so
one that never polls holds up the others until it is thrown out.
"""

from collections.abc import Mapping, Sequence

from connectors.broker import BrokerError, TopicPartition
from connectors.memory.cluster import Bell


class Group:
    """Members are known by ids that sort in the order in which they came."""

    def __init__(self, name: str, bell: Bell) -> None:
        self.name = name
        self.generation = 0
        self._bell = bell
        self._topics: dict[str, int] = {}
        self._born = 0
        self._joined: dict[str, bool] = {}
        self._assignment: dict[str, frozenset[TopicPartition]] = {}

    def __contains__(self, member: str) -> bool:
        return member in self._joined

    @property
    def rebalancing(self) -> bool:
        """Some member has not joined the next generation yet."""
        return not all(self._joined.values())

    def awaits(self, member: str) -> bool:
        """The group rebalances, and this member has yet to join again."""
        return not self._joined[member]

    def join(self, topics: Mapping[str, int]) -> str:
        """A new member, by its id; `topics` with their numbers of partitions.

        Raises BrokerError when the members that are there read other topics.
        """
        if self._joined and self._topics != topics:
            raise BrokerError(f"group {self.name} reads {', '.join(self._topics)}, not {', '.join(topics)}")
        self._topics = dict(topics)
        member = f"{self.name}-{self._born:06d}"
        self._born += 1
        self._rebalance()
        self.join_again(member)
        return member

    def join_again(self, member: str) -> None:
        """The member has given up its partitions and is ready for the next generation."""
        self._joined[member] = True
        self._begin_generation_if_complete()

    def leave(self, member: str) -> None:
        """The member goes, or is thrown out; the others share its partitions when they have joined again."""
        del self._joined[member]
        self._rebalance()
        self._bell.ring()

    def assignment(self, member: str) -> frozenset[TopicPartition]:
        """What the member reads in the present generation."""
        return self._assignment[member]

    def _rebalance(self) -> None:
        self._joined = dict.fromkeys(self._joined, False)

    def _begin_generation_if_complete(self) -> None:
        if not self.rebalancing:
            self.generation += 1
            self._assignment = assign(self._topics, sorted(self._joined))
            self._bell.ring()


def assign(topics: Mapping[str, int], members: Sequence[str]) -> dict[str, frozenset[TopicPartition]]:
    """Ranges of partition numbers, one for each member, the first ones longer by one where it does not come out even.

    A number means the partition with this number of every topic, also where the topics' counts differ.
    """
    share, longer = divmod(max(topics.values()), len(members))
    assignment = {}
    first = 0
    for i, member in enumerate(members):
        end = first + share + (i < longer)
        assignment[member] = frozenset(
            TopicPartition(topic, number) for topic, count in topics.items() for number in range(first, min(end, count))
        )
        first = end
    return assignment
