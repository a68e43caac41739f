"""Files are kept as the providers keep them: uploaded in each of their ways, listed, read and deleted."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx
import pytest

from tests.helpers.local_server import RunningServer, running_server

LINES = b'{"custom_id": "a", "body": {}}\n'
ENTRY = {"purpose": "batch-api", "file_name": "a.jsonl", "file_type": "jsonl"}


def upload(server: RunningServer, path: str, *, purpose: str = "batch", data: bytes = LINES) -> httpx.Response:
    return httpx.post(
        f"{server.origin}/{path}/files", data={"purpose": purpose}, files={"file": ("a.jsonl", data)}, timeout=30
    )


@pytest.mark.parametrize("path", ["openai-api/v1", "groq/openai/v1", "together/v1", "v1"])
def test_an_uploaded_file_is_listed_read_and_deleted(path: str, local_server: RunningServer) -> None:
    folder = f"{local_server.origin}/{path}/files"
    purpose = "batch-api" if path.startswith("together") else "batch"
    file = upload(local_server, path, purpose=purpose).raise_for_status().json()
    assert (file["bytes"], file["filename"], file["purpose"]) == (len(LINES), "a.jsonl", purpose)
    assert [one["id"] for one in httpx.get(folder).json()["data"]] == [file["id"]]
    assert httpx.get(f"{folder}/{file['id']}").json() == file
    assert httpx.get(f"{folder}/{file['id']}/content").content == LINES
    assert httpx.delete(f"{folder}/{file['id']}").json()["deleted"] is True
    assert httpx.get(f"{folder}/{file['id']}").status_code == 404
    assert httpx.get(folder).json()["data"] == []
    assert local_server.bill()["requests"] == 0


@pytest.mark.parametrize("encoding", ["urlencoded", "multipart"])
def test_together_names_an_address_that_takes_the_bytes_without_a_key(
    encoding: str, local_server: RunningServer
) -> None:
    folder = f"{local_server.origin}/together/v1/files"
    checksum = hashlib.sha256(LINES).hexdigest()
    fields: dict[str, Any] = {**ENTRY, "checksum": checksum}
    body: dict[str, Any] = (
        {"data": fields} if encoding == "urlencoded" else {"files": {name: (None, fields[name]) for name in fields}}
    )
    reply = httpx.post(folder, **body)
    file_id = reply.headers["x-together-file-id"]
    assert reply.status_code == 302
    assert httpx.get(f"{folder}/{file_id}").status_code == 404  # its bytes are not there yet
    assert httpx.put(reply.headers["location"], content=LINES).status_code == 200
    assert httpx.post(f"{folder}/{file_id}/preprocess").json()["processing_status"] == "COMPLETED"
    assert httpx.get(f"{folder}/{file_id}/content").content == LINES
    again = httpx.post(folder, **body)
    assert (again.status_code, again.json()["file_id"]) == (409, file_id)
    assert local_server.bill()["key_leaked"] == 0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({**ENTRY, "purpose": "fun"}, "purpose"),
        ({**ENTRY, "file_type": "exe"}, "file_type"),
        ({"file_name": "a.jsonl"}, "purpose"),
        ({"purpose": "batch-api"}, "file_type"),
    ],
)
def test_an_upload_that_is_not_valid_is_refused(
    fields: dict[str, str], param: str, local_server: RunningServer
) -> None:
    reply = httpx.post(f"{local_server.origin}/together/v1/files", data=fields)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


def test_no_address_but_the_named_one_takes_bytes(local_server: RunningServer) -> None:
    folder = f"{local_server.origin}/together/v1/files"
    httpx.post(folder, data=ENTRY)
    for token in ("guess", "%C3%A9", ""):
        assert httpx.put(f"{folder}/{token}/put", content=LINES).status_code == 403
    assert httpx.get(folder).json()["data"] == []


def test_a_form_that_is_broken_is_refused(local_server: RunningServer) -> None:
    for content_type in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"):
        reply = httpx.post(
            f"{local_server.origin}/together/v1/files",
            content=b"\xff=" + b"&a=1" * 300,
            headers={"content-type": content_type},
        )
        assert reply.status_code == 400, content_type


@pytest.mark.long
def test_files_need_the_key_where_the_server_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILES_TEST_KEY", "a-key-of-the-files-test")
    with running_server(key_env="FILES_TEST_KEY") as server:
        for method, path in (("GET", ""), ("POST", ""), ("GET", "/a"), ("GET", "/a/content"), ("DELETE", "/a")):
            assert httpx.request(method, f"{server.origin}/together/v1/files{path}").status_code == 401, path


@pytest.mark.long
def test_bytes_are_put_without_the_key_where_every_request_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILES_TEST_KEY", "a-key-of-the-files-test")
    key = {"authorization": "Bearer a-key-of-the-files-test"}
    with running_server(host="0.0.0.0", key_env="FILES_TEST_KEY") as server:
        folder = f"{server.origin}/together/v1/files"
        location = httpx.post(folder, data=ENTRY, headers=key).headers["location"]
        assert httpx.put(location.replace("/put", "x/put"), content=LINES).status_code == 401
        assert httpx.put(location, content=LINES).status_code == 200
        assert [one["bytes"] for one in httpx.get(folder, headers=key).json()["data"]] == [len(LINES)]


@pytest.mark.long
def test_no_more_files_are_kept_than_there_is_room_for(local_server: RunningServer) -> None:
    folder = f"{local_server.origin}/v1/files"
    block = bytes(100 * 2**20)
    statuses = [upload(local_server, "v1", data=block).status_code for _ in range(3)]
    assert statuses == [200, 200, 413]
    assert len(httpx.get(folder).json()["data"]) == 2
    httpx.delete(f"{folder}/{httpx.get(folder).json()['data'][0]['id']}")
    assert upload(local_server, "v1", data=block).status_code == 200
