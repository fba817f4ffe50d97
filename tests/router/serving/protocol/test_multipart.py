"""The model of a multipart form: ambiguous forms are refused."""

from __future__ import annotations

import httpx
import pytest

from router.errors import BodyError
from router.serving.protocol.multipart import read_form

KIND = "multipart/form-data; boundary=b0"


def part(content: bytes, name: str = "model", more: str = "") -> bytes:
    return f'--b0\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + content + b"\r\n"


END = b"--b0--\r\n"
FILE = part(b'RIFF\x00name="model"\r\n\r\nevil', "file", '; filename="a.wav"')


def test_the_models_name_is_found_and_changed_and_every_other_byte_stays() -> None:
    raw = FILE + part(b"whisper") + part(b"en", "language") + END
    form = read_form(raw, KIND)
    assert form.model == "whisper"
    assert form.with_model("whisper-1-eu") == raw.replace(b"whisper", b"whisper-1-eu")


def test_what_a_real_client_sends_is_read() -> None:
    files = {"file": ("a.wav", b"\r\n--data\x00", "audio/wav")}
    request = httpx.Request("POST", "http://x", data={"model": "whisper", "language": "en"}, files=files)
    form = read_form(request.read(), request.headers["content-type"])
    assert form.model == "whisper"
    assert form.with_model("whisper") == request.read()
    quoted = request.headers["content-type"].replace("boundary=", 'boundary="') + '"'
    assert read_form(request.read(), quoted).model == "whisper"


@pytest.mark.parametrize(
    "raw",
    [
        FILE + END,
        part(b"a") + part(b"b") + END,
        part(b"a" * 501) + END,
        part(b"a"),
        part(b"a") + b"--b0",
        END,
        b"",
        b"preamble\r\n" + part(b"a") + END,
        part(b"a") + END + part(b"b") + END,
        part(b"a", more='; filename="x"') + END,
        part(b"a") + part(b"b", "Model") + END,
        part(b"a", "MODEL") + END,
        part(b"a") + part(b"b", "Model", '; filename="x"') + END,
        part(b"a", "x\\") + part(b"b") + END,
        part(b"a") + b"--b0\r\nContent-Disposition: form-data; name=model\r\n\r\nb\r\n" + END,
        part(b"a") + b"--b0\r\nContent-Disposition: form-data; name*=utf-8''model\r\n\r\nb\r\n" + END,
        part(b"a") + b'--b0\r\nContent-Disposition: form-data;\r\n name="model"\r\n\r\nb\r\n' + END,
        part(b"a") + b'--b0\r\nX: y\nContent-Disposition: form-data; name="model"\r\n\r\nb\r\n' + END,
        part(b"a", "x") + b'--b0 \r\nContent-Disposition: form-data; name="model"\r\n\r\nb\r\n' + END,
        part(b"a") + b'--b0\nContent-Disposition: form-data; name="model"\n\nb\n' + END,
        part(b"a", "x") * 500 + part(b"a") + END,
        part(b"a", more='"\r\nContent-Disposition: form-data; name="x') + END,
    ],
    ids=lambda raw: repr(raw)[:60],
)
def test_a_form_that_others_may_read_differently_is_refused(raw: bytes) -> None:
    with pytest.raises(BodyError):
        read_form(raw, KIND)


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=b0; boundary=b1",
        "multipart/form-data; charset=utf-8; boundary=b0",
        "multipart/mixed; boundary=b0",
        'multipart/form-data; boundary="b0',
    ],
)
def test_a_content_type_with_anything_but_one_boundary_is_refused(kind: str) -> None:
    with pytest.raises(BodyError, match="content type"):
        read_form(part(b"a") + END, kind)
