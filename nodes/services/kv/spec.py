"""The key-value store as a service."""

from __future__ import annotations

from testbed.nodes.services.kv.load import KvLoad, Mix
from testbed.nodes.services.kv.store import Store, call_text, key_of, only_gets, result_text
from testbed.nodes.services.spec import ServiceSpec

SPEC = ServiceSpec(
    name="kv",
    title="a replicated key-value store: get, put, and compare-and-set",
    build=Store,
    mix=Mix,
    load=KvLoad,
    call_text=call_text,
    result_text=result_text,
    part_of=key_of,
    only_reads=only_gets,
)
