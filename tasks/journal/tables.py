"""The journal's tables, the same on SQLite and PostgreSQL.

Money is text holding an exact decimal; times are microseconds since the epoch, UTC; lists and mappings are JSON text.
Everything that belongs to one OUT has its ``out_id``; Asks, file hashes, cut points and learned limits are shared by
every OUT that uses the journal. A change of a table needs a migration, see ``migrations``.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()

meta = Table("meta", metadata, Column("name", String(64), primary_key=True), Column("value", Text, nullable=False))

migrations = Table(
    "migrations",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("applied_at", BigInteger, nullable=False),
    Column("program", Text, nullable=False),
)

outs = Table(
    "outs",
    metadata,
    Column("out_id", String(32), primary_key=True),
    Column("root", Text, nullable=False),
    Column("capability", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("params", Text, nullable=False),
    Column("job", Text, nullable=False),
    Column("row_schema", LargeBinary),
    Column("schema", LargeBinary),
    Column("place", Text),
    Column("formats", Text),
)

items = Table(
    "items",
    metadata,
    Column("out_id", String(32), primary_key=True),
    Column("item_id", Text, primary_key=True),
    Column("item_index", BigInteger, nullable=False),
    Column("shard", Integer, nullable=False),
    Column("source", Text, nullable=False),
    Column("location", Text),
    Column("row", Text, nullable=False),
    Column("params", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("problem", Text),
    Column("sample", Integer, nullable=False),
    Column("seen_run", String(48), nullable=False),
    Column("state", String(8), nullable=False),
    Column("error_kind", Text),
    Column("transient", Integer, nullable=False),
    Column("result", LargeBinary),
    Column("result_fingerprint", Text),
    Column("failure", LargeBinary),
    Column("first_run", String(48)),
    Column("preparation", LargeBinary),
    Column("file_stem", Text),
    Column("file_key", Text),
    Index("items_by_file_key", "out_id", "file_key", unique=True),
    Index("items_by_shard", "out_id", "shard", "item_index"),
    Index("items_by_state", "out_id", "state", "error_kind", "seen_run", "shard"),
)

shards = Table(
    "shards",
    metadata,
    Column("out_id", String(32), primary_key=True),
    Column("shard", Integer, primary_key=True),
    Column("dirty", Integer, nullable=False),
)

asks = Table(
    "asks",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("state", String(8), nullable=False),
    Column("before", String(8), nullable=False),
    Column("owner", String(48), nullable=False),
    Column("lease", BigInteger, nullable=False),
    Column("out_id", String(32), nullable=False),
    Column("call_id", String(32)),
    Column("remote_id", Text),
    Column("worker", Integer),
    Index("asks_by_out", "out_id", "state", "owner"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("call_id", String(32), primary_key=True),
    Column("out_id", String(32), nullable=False),
    Column("run_id", String(48), nullable=False),
    Column("capability", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("item_ids", Text, nullable=False),
    Column("request_keys", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("outcome", String(8), nullable=False),
    Column("http_status", Integer),
    Column("error_kind", Text),
    Column("error_message", Text),
    Column("started_at", BigInteger, nullable=False),
    Column("latency_ms", BigInteger),
    Column("wait_ms", BigInteger),
    Column("request_id", Text),
    Column("usage", Text),
    Column("cost_usd", Text),
    Column("cost_max_usd", Text),
    Column("cost_basis", Text),
    Column("price_source", Text),
    Column("reply_status", Integer),
    Column("reply_headers", Text),
    Column("reply_body", LargeBinary),
    Column("reply_blob", String(64)),
    Column("changed_in", String(48), nullable=False),
    Index("attempts_by_run", "out_id", "run_id"),
    Index("attempts_by_change", "out_id", "changed_in"),
)

parts = Table(
    "parts",
    metadata,
    Column("out_id", String(32), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("rows", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("mtime_ns", BigInteger),
)

documents = Table(
    "documents",
    metadata,
    Column("out_id", String(32), primary_key=True),
    Column("path", Text, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("content", LargeBinary),
)

sidecars = Table(
    "sidecars",
    metadata,
    Column("out_id", String(32), primary_key=True),
    Column("path", Text, primary_key=True),
    Column("item_id", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("sha256_before", String(64)),
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", String(48), primary_key=True),
    Column("out_id", String(32), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("state", Text),
    Column("summary", Text),
    Index("runs_by_out", "out_id", "started_at"),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("heartbeat", BigInteger, nullable=False),
    Column("token", BigInteger, nullable=False),
)

files = Table(
    "files",
    metadata,
    Column("path", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("inode", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
)

ceilings = Table("ceilings", metadata, Column("name", Text, primary_key=True), Column("state", Text, nullable=False))

cuts = Table(
    "cuts",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("recipe", Text, primary_key=True),
    Column("points", Text, nullable=False),
)
