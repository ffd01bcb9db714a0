"""docs/service.md: its client works as it stands; and the OpenAPI document says what there is."""

import json
import re
from pathlib import Path

import pytest

from tests.visual.page.conftest import serving
from tests.visual.service.served import new_drawing, png

DOCUMENT = Path(__file__).parents[3] / "docs" / "service.md"


def test_the_client_of_the_document_works(fresh, tmp_path, monkeypatch, capsys):
    served = fresh(keys=False)
    client, example = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.S)
    monkeypatch.chdir(tmp_path)
    Path("shoe.jpg").write_bytes(png(new_drawing(8)))
    with serving(served.app) as address:
        space = {}
        exec(client, space)  # noqa: S102
        exec(example.replace("http://127.0.0.1:8000", address).replace("k=10", "k=3, cutoff=0"), space)  # noqa: S102
        assert len(capsys.readouterr().out.splitlines()) == 3
        first = {result["id"] for result in space["answer"]["results"]}
        assert len(first) == 3 and not first & {result["id"] for result in space["more"]["results"]}
        added = space["client"].add("shoe.jpg", ["shoe", "new"], private=True)
        assert added["tags"] == ["shoe", "new"] and added["private"]
        assert space["client"].search(text="shoe")["results"][0]["id"] == added["id"]


def test_every_route_is_described(served):
    document = served.nobody.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/api/search", "/api/images", "/api/images/{id}", "/api/images/{id}/thumbnail", "/api/images/{id}/picture",
        "/api/images/{id}/restore",
        "/api/clicks", "/api/judgements", "/api/judging", "/api/session", "/api/suggestions", "/api/status",
        "/api/engines", "/api/engines/{kind}", "/health", "/metrics",
    }  # fmt: skip
    for path, methods in document["paths"].items():
        for method, about in methods.items():
            assert about["description"], (method, path)
    assert str(served.folder) not in json.dumps(document)


@pytest.mark.slow
def test_no_request_that_the_document_allows_makes_an_error_of_ours(fresh):
    """What schemathesis makes of the document, with right and wrong values, for every route."""
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, given, settings

    served = fresh(per_second=1e6, burst=1e6)
    schema = schemathesis.openapi.from_dict(served.app.openapi())
    headers = {"Authorization": f"Bearer {served.keys['root']}"}
    seen = {}

    def check(operation):
        @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
        @given(case=operation.as_strategy())
        def call(case):
            answer = case.call(app=served.app, base_url="http://localhost", headers=headers)
            key = f"{operation.method.upper()} {operation.path}"
            seen.setdefault(key, set()).add(answer.status_code)
            assert answer.status_code < 500, (key, answer.status_code, answer.text[:300])
            known = {str(status) for status in operation.definition.raw["responses"]}
            assert str(answer.status_code) in known, (key, answer.status_code, answer.text[:300])

        call()

    for result in schema.get_all_operations():
        check(result.ok())
    assert len(seen) == sum(len(methods) for methods in served.app.openapi()["paths"].values())
    assert served.root.get("/health").status_code == 200
