"""Ollama's stream of JSON lines, as documented and as broken."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oblix_actors.core.events import Delta, Event, ToolCallDelta, Usage
from oblix_actors.errors import OblixError
from oblix_actors.wire.ollama import ChatStreamDecoder

# https://github.com/ollama/ollama/blob/main/docs/api.md#chat-request-streaming
STREAM = (
    b'{"model":"llama3.2","created_at":"2023-08-04T08:52:19.385406455-07:00",'
    b'"message":{"role":"assistant","content":"The","images":null},"done":false}\n'
    b'{"model":"llama3.2","created_at":"2023-08-04T08:52:19.385406455-07:00",'
    b'"message":{"role":"assistant","content":" sk\xc3\xbd"},"done":false}\n'
    b'{"model":"llama3.2","created_at":"2023-08-04T19:22:45.499127Z","message":{"role":"assistant","content":""},'
    b'"done":true,"done_reason":"stop","total_duration":4883583458,"load_duration":1334875,"prompt_eval_count":26,'
    b'"prompt_eval_duration":342546000,"eval_count":282,"eval_duration":4535599000}\n'
)
TOOLS = (
    b'{"model":"qwen3","created_at":"2025-07-07T20:22:19.184789Z","message":{"role":"assistant","content":"",'
    b'"thinking":"Okay,"},"done":false}\n'
    b'{"model":"qwen3","created_at":"2025-07-07T20:22:19.184789Z","message":{"role":"assistant","content":"",'
    b'"tool_calls":[{"function":{"name":"get_weather","arguments":{"city":"Tokyo"}}},'
    b'{"id":"call_x","function":{"index":1,"name":"get_time","arguments":{}}}]},"done":false}\n'
    b'{"model":"qwen3","created_at":"2025-07-07T20:22:19.184789Z","message":{"role":"assistant","content":"",'
    b'"tool_calls":[{"id":"call_x","function":{"name":"get_time","arguments":{"z":[1,null]}}}]},"done":false}\n'
    b'{"model":"qwen3","created_at":"2025-07-07T20:22:19.19314Z","message":{"role":"assistant","content":""},'
    b'"done_reason":"stop","done":true,"total_duration":182242375,"prompt_eval_count":169,"eval_count":15}\n'
)


def decode(data: bytes, size: int | None = None, *, single_call: bool = False) -> list[Event]:
    numbers = count()
    decoder = ChatStreamDecoder(single_call=single_call, new_id=lambda: f"call_{next(numbers)}")
    pieces = [data] if size is None else [data[at : at + size] for at in range(0, len(data), size)]
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + decoder.close()


def fail(data: bytes) -> OblixError:
    with pytest.raises(OblixError) as caught:
        decode(data)
    return caught.value


def test_text() -> None:
    assert decode(STREAM) == [Delta(text="The"), Delta(text=" ský"), Delta(finish="stop"), Usage(26, 282)]


def test_tool_calls_and_thinking() -> None:
    assert decode(TOOLS) == [
        Delta(reasoning="Okay,"),
        Delta(
            tool_calls=(
                ToolCallDelta(0, "call_0", "get_weather", '{"city":"Tokyo"}'),
                ToolCallDelta(1, "call_x", "get_time", "{}"),
            )
        ),
        Delta(tool_calls=(ToolCallDelta(2, "call_1", "get_time", '{"z":[1,null]}'),)),
        Delta(finish="tool_calls"),
        Usage(169, 15),
    ]


def test_one_call_where_only_one_is_wanted() -> None:
    calls = [call for event in decode(TOOLS, single_call=True) if isinstance(event, Delta) for call in event.tool_calls]
    assert [call.name for call in calls] == ["get_weather"]


def test_ids_are_random() -> None:
    ids = set()
    for _ in range(3):
        for event in ChatStreamDecoder().feed(TOOLS):
            ids |= {call.id for call in event.tool_calls} if isinstance(event, Delta) else set()
    assert len(ids) == 3 * 2 + 1
    assert all(call_id is not None and call_id.startswith("call_") for call_id in ids)


@given(st.sampled_from([STREAM, TOOLS, STREAM.replace(b"\n", b"\r\n"), STREAM.rstrip()]), st.integers(1, 300))
def test_any_split_is_the_same(data: bytes, size: int) -> None:
    assert decode(data, size) == decode(data)


@given(st.integers(0, len(STREAM) - 2))
def test_any_cut_is_noticed(at: int) -> None:
    assert fail(STREAM[:at]).code == "upstream_truncated"


@given(st.binary(max_size=200))
def test_any_bytes_end_in_one_way(data: bytes) -> None:
    decoder = ChatStreamDecoder()
    with pytest.raises(OblixError):
        decoder.feed(data + b"\n")
        decoder.close()


def test_the_end_is_the_end() -> None:
    decoder = ChatStreamDecoder()
    decoder.feed(STREAM)
    assert decoder.done
    assert decoder.feed(STREAM + b"rubbish\n") == []
    assert decoder.close() == []


@pytest.mark.parametrize(
    ("reason", "finish"), [("stop", "stop"), ("length", "length"), ("load", "stop"), (None, "stop")]
)
def test_finish_reasons(reason: str | None, finish: str) -> None:
    told = b"" if reason is None else b',"done_reason":"%b"' % reason.encode()
    assert decode(b'{"message":{"content":"x"},"done":true%b}' % told) == [Delta(text="x", finish=finish)]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("an error was encountered while running the model", "upstream_error_frame"),
        ("model 'llama9' not found", "upstream_model_not_found"),
        ("the input length exceeds the context length", "context_length_exceeded"),
        ('\\"llama3.2\\" does not support tools', "upstream_unsupported"),
        ("", "upstream_truncated"),
    ],
)
def test_errors_in_the_stream(error: str, code: str) -> None:
    assert fail(STREAM.splitlines(keepends=True)[0] + b'{"error":"%b"}\n' % error.encode()).code == code


@pytest.mark.parametrize(
    "line", [b"[1]", b'{"message": 3}', b'{"message":{"content":1}}', b"<html>", b'{"done":"yes"}', b'"x"', b"\xff"]
)
def test_rubbish(line: bytes) -> None:
    assert fail(line + b"\n").code == "upstream_malformed"
