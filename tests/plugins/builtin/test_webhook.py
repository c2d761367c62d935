"""webhook: what answers mean, signatures, and requests that are too large."""

import asyncio
import base64

import pytest
from tests.plugins.helpers import E1
from tests.plugins.targets import kinds
from tests.plugins.targets.harness import Hosted, Script

from zabra.plugins.builtin.webhook import TooLargeError, WebhookError, refusal, secret_of, signature
from zabra.plugins.publisher import PublisherContext, Snap, SnapNode, TryLater
from zabra.plugins.registry import PublisherError, plan_publisher

CONTEXT = PublisherContext("p", {}, 1)


@pytest.fixture
def webhook(targets):
    return kinds.get("webhook")


def publish(webhook, place, *what, **more):
    """Each of ``what`` is txns, or a snapshot."""

    async def main():
        publisher = plan_publisher("p", {**webhook.options(place), **more}).make()
        try:
            assert await publisher.open(CONTEXT) is None
            for one in what:
                if isinstance(one, Snap):
                    await publisher.snap(one)
                else:
                    await publisher.inform(one)
        finally:
            await publisher.close()

    asyncio.run(main())


def snapshot(zxid, count):
    async def nodes():
        for number in range(count):
            yield SnapNode(f"/s{number:04}", b"\xff", 0, (), 0, zxid, zxid)

    return Snap(zxid, nodes())


def test_the_id_is_that_of_the_content(webhook, place):
    script = Script()
    script.some(5)
    publish(webhook, place, script.txns[:2], script.txns[:2], script.txns[2:])
    ids = [request["id"] for request in webhook.requests(place)]
    first, second, third, last = (f"0x{script.txns[n].zxid:x}" for n in (0, 1, 2, -1))
    assert ids == [f"{first}-{second}"] * 2 + [f"{third}-{last}"]
    body = webhook.requests(place)[0]["body"]
    assert (body["publisher"], body["first"], body["last"], len(body["txns"])) == ("p", first, second, 2)


def test_a_request_that_is_too_large_is_cut(webhook, place):
    script = Script()
    script.some(8)
    webhook.answer(place, "413", "200", "413", "200", "200")
    publish(webhook, place, script.txns)
    assert webhook.rows(place) == script.rows
    assert [len(request["body"]["txns"]) for request in webhook.requests(place)] == [4, 2, 2]
    webhook.answer(place, "413")
    with pytest.raises(
        TryLater, match=f"HTTP 413: no, said the receiver: a single txn, 0x{script.txns[0].zxid:x}"
    ):
        publish(webhook, place, script.txns[:1])


def test_a_snapshot_in_parts(webhook, place):
    publish(webhook, place, snapshot(E1 + 9, 1001), snapshot(E1 + 12, 0))
    bodies = [request["body"] for request in webhook.requests(place)]
    assert [(body["part"], len(body["nodes"]), body.get("end"), body.get("count")) for body in bodies] == [
        (0, 500, None, None),
        (1, 500, None, None),
        (2, 1, True, 1001),
        (0, 0, True, 0),
    ]


@pytest.mark.parametrize(
    ("answer", "kind", "text", "after_s"),
    [
        ("301 Location=http://elsewhere/", TryLater, "redirects are not followed", 30),
        ("307 Location=/", TryLater, "redirects are not followed", 30),
        ("400", TryLater, "HTTP 400: no, said the receiver: refused", 30),
        ("410", TryLater, "refused", 30),
        ("429 Retry-After=7", TryLater, "HTTP 429", 7),
        ("503 Retry-After=99999", TryLater, "HTTP 503", 3600),
        ("500", WebhookError, "HTTP 500: no, said the receiver", None),
        ("429", WebhookError, "HTTP 429", None),
        ("408", WebhookError, "HTTP 408", None),
    ],
)
def test_answers(webhook, place, answer, kind, text, after_s):
    script = Script()
    script.some(1)
    webhook.answer(place, answer)
    with pytest.raises(kind, match=text) as caught:
        publish(webhook, place, script.txns)
    assert getattr(caught.value, "after_s", None) == after_s
    assert webhook.requests(place) == []


def test_failures_are_tried_again_in_order(webhook, place, tmp_path):
    script = Script()
    webhook.answer(place, "500", "503", "200", "502", "503 Retry-After=0")

    async def main():
        async with Hosted(tmp_path, {**webhook.options(place), "batchTxns": "5"}, script) as hosted:
            for _ in range(8):
                hosted.commit(script.some(5))
            await hosted.until_published()
            assert hosted.host.runs[0].failures == 4

    asyncio.run(main())
    assert webhook.rows(place) == script.rows


def test_a_wrong_secret_is_a_refusal(webhook, place, tmp_path):
    script = Script()
    script.some(1)
    secret = tmp_path / "secret"
    secret.write_text("not the one\n")
    with pytest.raises(TryLater, match="HTTP 401"):
        publish(webhook, place, script.txns, secretFile=str(secret))
    secret.write_text("\n")
    with pytest.raises(ValueError, match="the secret is empty"):
        publish(webhook, place, script.txns, secretFile=str(secret))


def test_refusals():
    assert isinstance(refusal(413, "", ""), TooLargeError)
    assert str(refusal(500, "soon", "")) == "HTTP 500"


def test_the_signature_is_that_of_standard_webhooks():
    # The example of its specification.
    secret = secret_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body) == expected


def test_secrets():
    assert secret_of("whsec_" + base64.b64encode(b"\x00\xff").decode()) == b"\x00\xff"
    assert secret_of("plain") == b"plain"
    with pytest.raises(ValueError, match="no base64 behind whsec_"):
        secret_of("whsec_?")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "publisher.p.url: is not set"),
        ({"url": "ftp://x"}, "publisher.p: url does not begin with http:// or https:// and a host"),
        ({"url": "http://"}, "publisher.p: url does not begin with http:// or https:// and a host"),
        ({"url": "http://x", "timeoutMs": "1"}, "publisher.p: timeoutMs is 1, must be at least 100"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(PublisherError) as caught:
        plan_publisher("p", {"class": "webhook", **options})
    assert str(caught.value).startswith(text)
