"""What schemathesis has to know besides tests/data/schemathesis.toml."""

import schemathesis


@schemathesis.hook
def filter_body(context, body):
    """To JSON Schema 4.0 is an integer. Here it is none, as in most typed languages: a body with one is refused, and says so."""
    return not has_whole_float(body)


def has_whole_float(value):
    if isinstance(value, dict):
        return any(has_whole_float(item) for item in value.values())
    if isinstance(value, list):
        return any(has_whole_float(item) for item in value)
    return isinstance(value, float) and value.is_integer()


@schemathesis.serializer("application/wasm", "application/x-ndjson", "application/x-tar", "application/zip")
def as_it_is(context, value):
    """A body of bytes as it is."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
