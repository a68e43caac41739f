"""How the browser is logged in to Prefect's UI: a local page sends the password, and the server's answer stores it.

The page is a file that only its owner reads, so that the password is in no address, history or list of processes.
"""

from __future__ import annotations

import base64
import json
import secrets
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.responses import Response

LOGIN_PATH = "/mediamill/login"
_STORAGE_KEY = "prefect-password"
"""Where both of Prefect's UIs look for the password, in base64."""


def make_login_page(origin: str, password: str) -> str:
    """The page that logs a browser in to the server at ``origin`` as soon as it is opened."""
    return (
        '<!doctype html><meta charset="utf-8"><title>Prefect</title>\n'
        f'<form method="post" action="{escape(origin)}{LOGIN_PATH}">\n'
        f'<input type="hidden" name="password" value="{escape(password)}"><button>Log in</button></form>\n'
        "<script>document.forms[0].submit()</script>\n"
    )


def make_logged_in_response(password: str) -> Response:
    """The answer to the right password: it stores it as Prefect's login form does, and goes on to the UI."""
    from starlette.responses import HTMLResponse

    nonce = secrets.token_urlsafe(16)
    stored = base64.b64encode(password.encode()).decode()
    page = (
        f'<!doctype html><meta charset="utf-8"><title>Prefect</title><script nonce="{nonce}">'
        f"localStorage.setItem({json.dumps(_STORAGE_KEY)}, {json.dumps(stored)}); location.replace('/')</script>"
    )
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": f"default-src 'none'; script-src 'nonce-{nonce}'; frame-ancestors 'none'",
    }
    return HTMLResponse(page, headers=headers)
