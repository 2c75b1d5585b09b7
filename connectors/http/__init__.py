"""The HTTP API: Litestar for the plumbing, functions for the routes, one door that all requests pass.

To add an area, say locks:

1.  Write `routes/locks.py`: functions with `@get`, `@post`, `@put`, `@patch`, `@delete` (or `@check`, a question with a
    body) of `route.py`, gathered in a tuple `ROUTES`. Add the module to `routes/__init__.py`. That is all: the door
    (`door.py`) signs in, asks the table of permissions, limits, reads query and body strictly, keeps answers under
    Idempotency-Keys, masks numbers; `openapi.py` describes the route from the same declaration.

2.  Each route names the permission that it takes: `requires="locks.see"`, from `backoffice/access.py`. A finer question
    ("his own lock, or anyone's?") is the use case's: `call.asker.must("locks.lift_any")`.

3.  A function takes a `Call` first, then the parts of its path by name, then `asked` (a Struct: the query's parameters,
    each with its type and default) and `sent` (a Struct with `forbid_unknown_fields=True`: the body). It returns a
    Struct, a `Page` of them (`paging.py`), None for 204, or a response of Litestar's for files (say which with
    `produces`). Constraints in the types' `Meta` are checked, documented, and tried by the fuzzer.

4.  What is wrong is raised: `NotThere`, `InTheWay`, `Unfit`, `NotAllowed` of `backoffice/refusals.py` become problems
    404, 409, 422, 403; anything else may raise a `Problem` of its own. Never answer an error by hand.

5.  A changing route runs in one transaction of the database, committed when the function returns. Use `call.pool` for
    everything, and `async with call.change(reason) as tx:` for the change itself, with its audit and outbox rows. A
    function may be run again when others got in its way, so it has no effect outside of the database.

6.  Callers' and called numbers of calls are `Party` in responses, and their routes say `parties=True`: they come out
    masked for whoever need not see them. Moments are RFC 3339 texts (`times.to_text`), money is in micro-units.

7.  Where money moves, `once="required"`.

`create_app(Services(database))` makes the application, `serve.py` serves it: in a process of its own
(`tollgate console`) or inside of another program's event loop.
"""

from connectors.http.app import create_app
from connectors.http.call import Call, Services
from connectors.http.problems import Problem

__all__ = ["Call", "Problem", "Services", "create_app"]
