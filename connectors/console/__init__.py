"""The console: pages for the operator's staff, made of what the API answers.

`with_console` puts the pages before an API in one ASGI application. A page is a template and a handler (`pages/`); all
that it knows it asks the API, in this process, with the browser's own session (`asking.py`). So rights, masks,
idempotency and the audit are the API's, and there is nothing that the console may and the API may not.

A new page: a function in a module of `pages/`, named in that module's `ROUTES`; a template; its words in
`translations/ru.po`. A plain list needs only an entry in `pages/lists.py`.
"""

from connectors.console.app import with_console

__all__ = ["with_console"]
