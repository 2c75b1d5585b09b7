"""Who the sample operator's clients are, and who works in its office: names that are made up, the same for a seed."""

from collections.abc import Iterable, Iterator
from random import Random
from typing import NamedTuple

from backoffice.access import Role
from backoffice.office import ClientSent

NAMED_BY_THE_GUIDE = (
    ClientSent("company", "ООО «Строй Сервис»", city="Москва", inn="7701234560", kpp="770101001"),
    ClientSent("person", surname="Попов", given_name="Иван", patronymic="Сергеевич", city="Москва", inn="770100000017"),
    ClientSent("person", surname="Попов", given_name="Пётр", patronymic="Андреевич", city="Тверь", inn="690100000022"),
    ClientSent("company", 'ООО "СтройП Сервис"', city="Тверь", inn="6901234565", kpp="690101001"),
)
"""The clients of the guide's examples (§1.1): namesakes, and a word in quotes."""


class Colleague(NamedTuple):
    """A member of the staff. `signs_in`: whoever tries the demonstration comes in as one of these."""

    name: str
    role: Role
    full_name: str
    signs_in: bool


STAFF: tuple[Colleague, ...] = (
    Colleague("anna", "manager", "Анна Смирнова", signs_in=True),
    Colleague("ivan", "support", "Иван Петров", signs_in=True),
    Colleague("admin", "administrator", "Администратор", signs_in=True),
    # They have set the locks.
    Colleague("ivanov", "b2b", "Сергей Иванов", signs_in=False),
    Colleague("petrova", "b2b", "Мария Петрова", signs_in=False),
    Colleague("sidorov", "marketing", "Олег Сидоров", signs_in=False),
)

MANAGER = "anna"

_WORDS = (
    "Альфа", "Вектор", "Горизонт", "Дельта", "Заря", "Импульс", "Каскад", "Лидер", "Меридиан", "Новатор", "Орион",
    "Парус", "Рубин", "Север", "Техно", "Урал", "Форум", "Центр", "Эталон", "Юпитер", "Янтарь",
)  # fmt: skip
_TRADES = ("Сервис", "Строй", "Торг", "Транс", "Мед", "Софт", "Логистика", "Мебель", "Авто", "Консалт")
_FORMS = ("ООО «{}»", "ООО «{}»", "ООО «{}»", "АО «{}»", 'ООО "{}"')
_SURNAMES = ("Кузнецов", "Соколов", "Попов", "Лебедев", "Козлов", "Новиков", "Морозов", "Волков", "Зайцев", "Ёлкин")
_GIVEN = ("Алексей", "Дмитрий", "Сергей", "Андрей", "Николай", "Павел", "Роман", "Фёдор")
_PATRONYMICS = ("Иванович", "Петрович", "Сергеевич", "Андреевич", "Олегович")
_CITIES = ("Москва", "Санкт-Петербург", "Екатеринбург", "Тверь", "Казань", "Новосибирск")


def clients(rng: Random, client_ids: Iterable[str]) -> Iterator[tuple[str, ClientSent]]:
    """Who stands behind each id: first those of the guide, then others, four companies to a person."""
    for number, client_id in enumerate(client_ids):
        if number < len(NAMED_BY_THE_GUIDE):
            yield client_id, NAMED_BY_THE_GUIDE[number]
        elif rng.random() < 0.2:
            yield client_id, _person(rng)
        else:
            yield client_id, _company(rng)


def _company(rng: Random) -> ClientSent:
    region = f"{rng.randrange(1, 93):02d}"
    return ClientSent(
        "company",
        rng.choice(_FORMS).format(f"{rng.choice(_WORDS)} {rng.choice(_TRADES)}"),
        city=rng.choice(_CITIES),
        inn=f"{region}{rng.randrange(10**8):08d}",
        kpp=f"{region}0101001",
        emails=(f"office{rng.randrange(10_000)}@example.org",),
        manager=MANAGER if rng.random() < 0.7 else None,
    )


def _person(rng: Random) -> ClientSent:
    return ClientSent(
        "person",
        surname=rng.choice(_SURNAMES),
        given_name=rng.choice(_GIVEN),
        patronymic=rng.choice(_PATRONYMICS),
        city=rng.choice(_CITIES),
        inn=f"{rng.randrange(1, 93):02d}{rng.randrange(10**10):010d}",
    )
