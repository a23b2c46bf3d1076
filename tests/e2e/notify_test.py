#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Events are told: a real collector and Postgres, receivers on loopback."""
import hashlib
import hmac
import json
import os
import re
import signal
import socket
import sys
import tempfile
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import lab  # noqa: E402  pylint: disable=wrong-import-position
import messages  # noqa: E402  pylint: disable=wrong-import-position
import postgres  # noqa: E402  pylint: disable=wrong-import-position
import receiver  # noqa: E402  pylint: disable=wrong-import-position
import toolchains  # noqa: E402  pylint: disable=wrong-import-position
from tap import HANGS_AFTER_S, await_that, check, equal, main, test  # noqa: E402  pylint: disable=wrong-import-position

lab.enter()

CLUSTER = postgres.Cluster()
NAMES = iter(f"told{n}" for n in range(1000))


class Told(lab.Lab):
    """A laboratory whose collector has a database of this test's cluster, and asks no providers."""

    def __init__(self, **environment):
        super().__init__()
        self.url = CLUSTER.create_database(next(NAMES))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.more = environment

    def __enter__(self):
        self.start()
        return self

    def start(self):
        self.start_collector("--http", f"127.0.0.1:{self.port}", database_url=self.url,
                             environment=self.more)
        self.sync()

    def write(self, statement):
        return CLUSTER.sql(statement, url=self.url)

    def happens(self, kind="noted", entity=None, what="something happened", **details):
        """Writes an event; returns its id."""
        def text(value):
            return "null" if value is None else "'" + str(value).replace("'", "''") + "'"
        return self.write("insert into nullspend.events (kind, entity, what, details) values "
                          f"({text(kind)}, {text(entity)}, {text(what)}, "
                          f"{text(json.dumps(details))}) returning event_id")

    def hook(self, name, url, *options):
        """Adds a webhook on loopback; returns its secret."""
        row, = self.json("endpoint", "add", name, "--webhook", url, "--allow-private", *options)
        return row["secret"]

    def delivery(self, event, endpoint=None):
        """state, attempts, last_status, last_error of an event's delivery."""
        which = "" if endpoint is None else f" and endpoint = '{endpoint}'"
        row, = CLUSTER.rows("select state, attempts, last_status, last_error from "
                            f"nullspend.delivery_status where event_id = '{event}'{which}",
                            url=self.url)
        return row

    def await_state(self, event, state, endpoint=None):
        await_that(lambda: self.delivery(event, endpoint)[0] == state, f"{event} {state}")
        return self.delivery(event, endpoint)

    def await_attempt(self, event, number):
        """Waits for what came of an attempt that failed."""
        await_that(lambda: self.delivery(event)[1] == str(number)
                   and self.delivery(event)[3] != "", f"{event}: attempt {number}")
        return self.delivery(event)

    def due(self):
        """What waits for its time, does no longer."""
        self.write("update nullspend.deliveries set next_attempt_at = now(), last_error = '' "
                   "where state = 'pending'")

    def notifiers(self):
        """Processes that tell events, of this collector."""
        with open(f"/proc/{self.collector.pid}/task/{self.collector.pid}/children",
                  encoding="ascii") as children:
            return [int(pid) for pid in children.read().split()]


def signatures(request):
    """The time and the list of v1 of a signature."""
    header = request.headers["X-NullSpend-Signature"]
    check(re.fullmatch(r"t=[0-9]+(,v1=[0-9a-f]{64})+", header), header)
    parts = header.split(",")
    return parts[0][2:], [part[3:] for part in parts[1:]]


def signed(request, secret):
    time, _ = signatures(request)
    return hmac.new(secret.encode(), time.encode() + b"." + request.body, hashlib.sha256).hexdigest()


def file_of(text):
    file = tempfile.NamedTemporaryFile("w", suffix=".secret")
    file.write(text + "\n")
    file.flush()
    return file


# --- webhooks ----------------------------------------------------------------------------------

@test
def a_webhook_is_told_of_an_event_signed_and_whole():
    with Told() as told, receiver.Http() as hook:
        secret = told.hook("hook", hook.url("/in"))
        check(re.fullmatch("whsec_[0-9a-f]{64}", secret), secret)
        odd = 'customer:a"b\\c\té</script>\U0001f4b8'
        event = told.happens("budget_exceeded", odd, 'it "said"\nno', more={"deep": [1, "ü"]})
        request = hook.take()
        equal(request.path, "/in")
        equal(request.headers["Content-Type"], "application/json")
        equal(request.headers["X-NullSpend-Webhook-Id"], event)
        equal(request.headers["User-Agent"], "NullSpend-Webhooks/1.0")
        equal(signatures(request)[1], [signed(request, secret)], "signatures")
        body = request.json()
        equal((body["id"], body["type"]), (event, "budget_exceeded"))
        equal(str(body["created_at"]), told.write(
            "select floor(extract(epoch from happened_at)) from nullspend.events"))
        thing = body["data"]["object"]
        equal((thing["entity"], thing["what"], thing["details"]),
              (odd, 'it "said"\nno', {"more": {"deep": [1, "ü"]}}))
        equal(sorted(thing), sorted(told.write(
            "select attname from pg_attribute where attrelid = 'nullspend.events'::regclass "
            "and attnum > 0 and not attisdropped").splitlines()), "columns")
        equal(told.await_state(event, "sent"), ["sent", "1", "200", ""])


@test
def a_budget_that_reaches_a_threshold_is_told_of_by_the_collector_itself():
    with Told() as told, receiver.Http() as hook:
        told.hook("hook", hook.url(), "--kinds", "threshold")
        told.cli("budget", "set", "customer:acme", "--limit", "1", "--period", "day")
        told.write("insert into nullspend.budget_counters (budget_id, entity, period_start, "
                   "period_end, spent_nanousd, held_nanousd, overshoot_nanousd) "
                   "select id, entity, nullspend.period_start(period), nullspend.period_end(period), "
                   "800000000, 0, 0 from nullspend.budgets on conflict (budget_id, entity, period_start) "
                   "do update set spent_nanousd = excluded.spent_nanousd")
        came = [hook.take().json()["data"]["object"] for _ in range(2)]
        equal(sorted((thing["threshold"], thing["customer"]) for thing in came),
              [(50, "acme"), (80, "acme")])


@test
def a_thin_webhook_is_told_only_which_event():
    with Told() as told, receiver.Http() as hook:
        told.hook("hook", hook.url(), "--thin")
        event = told.happens("noted", "tag:env=a:b", "secret words")
        equal({k: v for k, v in hook.take().json().items() if k != "created_at"},
              {"id": event, "type": "noted", "related_object": {"type": "tag", "id": "env=a:b"}})
        event = told.happens("noted", None)
        equal(hook.take().json()["related_object"], None, "of nothing")


@test
def an_endpoint_gets_the_kinds_and_entities_that_it_wants():
    with Told() as told, receiver.Http() as hook:
        told.hook("hook", hook.url(), "--kinds", "wanted, also", "--entity", "customer:a_*")
        told.happens("unwanted", "customer:a_1")
        told.happens("wanted", "customer:ab1")
        told.happens("wanted", None)
        first = told.happens("wanted", "customer:a_1")
        second = told.happens("also", "customer:a_")
        told.await_state(first, "sent")
        told.await_state(second, "sent")
        equal(told.write("select count(*) from nullspend.deliveries"), "2", "deliveries")
        told.cli("endpoint", "disable", "hook")
        told.happens("wanted", "customer:a_1")
        equal(told.write("select count(*) from nullspend.deliveries"), "2", "while disabled")


@test
def both_secrets_sign_during_the_grace_and_a_third_sends_the_first_away():
    with Told() as told, receiver.Http() as hook, file_of("my own secret") as own:
        row, = told.json("endpoint", "add", "hook", "--webhook", hook.url(), "--allow-private",
                         "--secret-file", own.name)
        check("secret" not in row, "a secret that was given is shown")
        first = "my own secret"
        second = told.json("endpoint", "rotate", "hook")[0]["secret"]
        told.happens()
        request = hook.take()
        equal(signatures(request)[1], [signed(request, second), signed(request, first)])
        third = told.json("endpoint", "rotate", "hook", "--grace", "1h")[0]["secret"]
        told.happens()
        request = hook.take()
        equal(signatures(request)[1], [signed(request, third), signed(request, second)])
        told.write("update nullspend.endpoint_secrets set ends_at = now() where ends_at < 'infinity'")
        told.happens()
        request = hook.take()
        equal(signatures(request)[1], [signed(request, third)], "after the grace")
        shown = told.cli("endpoint", "show", "hook", "--json").stdout + told.cli("endpoint", "list").stdout
        check(third not in shown and second not in shown, "a secret is shown again")


@test
def the_example_of_the_document_checks_a_signature():
    document = open(os.path.join(lab.ROOT, "docs/notifications.md"), encoding="utf-8").read()
    example, = re.findall(r"```python\n(.*?)```", document, re.S)
    scope = {}
    exec(example, scope)  # pylint: disable=exec-used
    with Told() as told, receiver.Http() as hook:
        first = told.hook("hook", hook.url())
        second = told.json("endpoint", "rotate", "hook")[0]["secret"]
        told.happens()
        request = hook.take()
        header = request.headers["X-NullSpend-Signature"]
        good = scope["is_from_nullspend"]
        check(good(first, header, request.body) and good(second, header, request.body), "refused")
        check(not good("whsec_other", header, request.body), "another secret")
        check(not good(first, header, request.body + b" "), "another body")
        late = re.sub("t=[0-9]+", lambda t: f"t={int(t[0][2:]) - 400}", header)
        check(not good(first, late, request.body), "another time")
        old = "t=1000000000,v1=" + hmac.new(first.encode(), b"1000000000." + request.body,
                                            hashlib.sha256).hexdigest()
        check(not good(first, old, request.body), "an old time")


# --- what goes wrong ---------------------------------------------------------------------------

@test
def what_fails_is_tried_again_later_and_later():
    with Told() as told, receiver.Http() as hook:
        told.hook("hook", hook.url())
        hook.answer(500, body=b"try \xff\n later")
        hook.answer(429, {"Retry-After": "600"})
        event = told.happens()
        equal(told.await_attempt(event, 1), ["pending", "1", "500", "HTTP 500: try ?? later"])
        wait = "select extract(epoch from next_attempt_at - last_attempt_at) from nullspend.deliveries"
        check(10 <= float(told.write(wait)) < 20, f"the first delay is {told.write(wait)} s")
        told.due()
        equal(told.await_attempt(event, 2), ["pending", "2", "429", "HTTP 429"])
        check(600 <= float(told.write(wait)) < 700, f"Retry-After 600 made {told.write(wait)} s")
        told.due()
        equal(told.await_state(event, "sent"), ["sent", "3", "200", ""])
        ids = {hook.take().headers["X-NullSpend-Webhook-Id"] for _ in range(3)}
        equal(ids, {event}, "ids")
        told.await_query("status", lambda status: status["deliveries"]["sent"] == 1
                         and status["deliveries"]["failed"] == 2
                         and status["deliveries"]["pending"] == 0)


@test
def what_cannot_become_better_is_dead_and_can_be_begun_anew():
    with Told() as told, receiver.Http() as hook:
        told.hook("hook", hook.url())
        hook.answer(404, body=b"nobody here")
        event = told.happens("noted", "customer:acme")
        equal(told.await_state(event, "dead"), ["dead", "1", "404", "HTTP 404: nobody here"])
        row, = told.json("deliveries", "--dead")
        equal((row["event_id"], row["endpoint"], row["state"]), (event, "hook", "dead"))
        told.await_query("status", lambda status: status["deliveries"]["dead"] == 1
                         and status["deliveries"]["last_error"] == "hook: HTTP 404: nobody here")
        equal(told.cli("deliveries", "retry", "77", check=False).returncode, 4, "no such delivery")
        told.cli("deliveries", "retry", str(row["delivery_id"]))
        equal(told.await_state(event, "sent"), ["sent", "1", "200", ""])
        equal(told.json("deliveries", "--dead"), [])
        equal(told.cli("deliveries", "retry", "--dead").stdout, "0 to be sent again\n")


@test
def metrics_and_status_tell_how_deliveries_stand():
    with Told() as told, receiver.Http() as hook:
        told.hook("hook", hook.url())
        hook.answer(500)
        told.await_attempt(told.happens(), 1)
        told.write("update nullspend.deliveries set created_at = created_at - interval '1 day'")
        hook.answer(404)
        told.await_state(told.happens(), "dead")
        told.await_state(told.happens(), "sent")

        def tells():
            with urllib.request.urlopen(f"http://127.0.0.1:{told.port}/metrics") as answer:
                lines = answer.read().decode().splitlines()
            now = dict(line.rsplit(" ", 1) for line in lines if "_deliveries_" in line and "#" not in line)
            age = int(now.pop("nullspend_deliveries_oldest_pending_seconds"))
            return 86400 <= age < 90000 and now == {
                "nullspend_deliveries_pending": "1", "nullspend_deliveries_dead": "1",
                "nullspend_deliveries_sent_total": "1", "nullspend_deliveries_failed_total": "2"}
        await_that(tells, "the metrics")
        text = told.cli("status").stdout
        check(re.search(r"deliveries pending +1\n", text), text)
        check(re.search(r"deliveries dead +1\n", text), text)


@test
def after_fifteen_attempts_it_is_dead():
    with Told() as told, receiver.Http() as hook:
        told.hook("hook", hook.url())
        hook.answer(503)
        hook.answer(503)
        event = told.happens()
        told.await_attempt(event, 1)
        told.write("update nullspend.deliveries set attempts = 14")
        told.due()
        equal(told.await_state(event, "dead"), ["dead", "15", "503", "HTTP 503"])


@test
def a_redirect_is_not_followed():
    with Told() as told, receiver.Http() as hook, receiver.Http() as other:
        told.hook("hook", hook.url())
        hook.answer(307, {"Location": other.url("/stolen")})
        event = told.happens()
        equal(told.await_state(event, "dead"),
              ["dead", "1", "307", "HTTP 307: redirects are not followed"])
        check(other.nothing_came(), "it was followed")


@test
def a_private_address_is_refused_whatever_its_name_is():
    with Told() as told, receiver.Http() as hook:
        # A name that /etc/hosts gives 127.0.0.1, and ways to write that address.
        for name, host in (("name", "api.openai.com"), ("literal", "127.0.0.1"),
                           ("number", "2130706433"), ("mapped", "[::ffff:127.0.0.1]"),
                           ("six", "[::1]"), ("any", "0.0.0.0")):
            told.cli("endpoint", "add", name, "--webhook", f"https://{host}:{hook.port}/")
            done = told.cli("endpoint", "test", name, check=False)
            equal(done.returncode, 1, f"test of {host}")
            check("is not public (--allow-private allows it)" in done.stderr, done.stderr)
        told.cli("endpoint", "add", "mail", "--mail", "a@example.com", "--from", "b@example.com",
                 "--smtp", f"smtp://127.0.0.1:{hook.port}")
        check("is not public" in told.cli("endpoint", "test", "mail", check=False).stderr, "mail")
        check(hook.nothing_came(), "something was sent")
        # Plain SQL is held to the same rules.
        told.write("update nullspend.endpoints set allow_private = true where name = 'literal'; "
                   f"update nullspend.endpoints set url = '{hook.url()}' where name = 'literal'")
        told.cli("endpoint", "test", "literal")


@test
def tls_is_checked_against_the_authorities():
    with tempfile.TemporaryDirectory() as directory:
        authority = lab.netns.certificates(directory, lab.HOSTS)
        with Told(SSL_CERT_FILE=authority.ca) as told, \
                receiver.Http(authority.certificate, authority.key) as hook:
            told.hook("hook", hook.url("/tls", "api.openai.com", "https"))
            told.cli("endpoint", "test", "hook")
            equal(hook.take().path, "/tls")
        with Told() as told, receiver.Http(authority.certificate, authority.key) as hook:
            told.hook("hook", hook.url("/tls", "api.openai.com", "https"))
            done = told.cli("endpoint", "test", "hook", check=False)
            check(done.returncode == 1 and "certificate" in done.stderr, done.stderr)
            check(hook.nothing_came(), "sent to a stranger")


@test
def an_answer_without_end_is_not_read():
    with Told() as told, receiver.Http() as hook:
        told.hook("hook", hook.url())
        endless = b"x" * 50_000_000  # more than sockets keep
        hook.answer(500, body=endless)
        event = told.happens()
        state = told.await_attempt(event, 1)
        equal(state[:3], ["pending", "1", "500"])
        hook.answer(200, body=endless)
        told.due()
        equal(told.await_state(event, "sent")[:3], ["sent", "2", "200"])
        equal([hook.cut.get(timeout=HANGS_AFTER_S) for _ in range(2)], [500, 200], "answers cut")


# --- others than webhooks ------------------------------------------------------------------------

@test
def slack_is_told_in_a_sentence_that_calls_nobody():
    with Told() as told, receiver.Http() as slack:
        told.cli("endpoint", "add", "chat", "--slack", slack.url("/services/T0/B0/secret"),
                 "--allow-private")
        told.happens("noted", "customer:<!channel>", "spent too much & more")
        request = slack.take()
        equal(request.path, "/services/T0/B0/secret")
        check(request.headers["X-NullSpend-Signature"] is None, "signed")
        body = request.json()
        equal(body["text"], "customer:&lt;!channel&gt;: spent too much &amp; more")
        texts = [body["blocks"][0]["text"]] + body["blocks"][1]["elements"]
        equal({text["type"] for text in texts}, {"plain_text"})
        equal(texts[0]["text"], "customer:<!channel>: spent too much & more")
        check("secret" not in told.cli("endpoint", "list", "--json").stdout, "the URL is shown")


@test
def on_call_services_get_one_incident_a_condition_and_its_end():
    with Told() as told, receiver.Http() as service, file_of("R0UTING") as key:
        told.cli("endpoint", "add", "ops", "--pagerduty", key.name, "--url", service.url(),
                 "--allow-private")
        told.happens("provider_down", "customer:acme", "it is down", severity="error")
        told.happens("provider_down", "customer:acme", "it is still down")
        told.happens("provider_down", "customer:other", "down here too")
        told.happens("provider_up", "customer:acme", "it is up", resolves="provider_down")
        told.happens("asked", "customer:" + "x" * 300, "long")
        bodies = [service.take().json() for _ in range(5)]
        equal({body["routing_key"] for body in bodies}, {"R0UTING"})
        by_source = {}
        for body in bodies:
            check(len(body["dedup_key"].encode()) <= 255, "too long a key")
            by_source.setdefault(body["dedup_key"], []).append(body)
        acme = by_source["nullspend/provider_down/customer:acme"]
        equal(sorted(body["event_action"] for body in acme), ["resolve", "trigger", "trigger"])
        equal(len(by_source), 3, "incidents")
        first, = (body["payload"] for body in acme
                  if body.get("payload", {}).get("summary") == "customer:acme: it is down")
        equal((first["source"], first["severity"], first["class"]),
              ("customer:acme", "error", "provider_down"))


@test
def a_mail_is_plain_text_and_names_make_no_headers():
    with Told() as told, receiver.Mail() as server:
        told.cli("endpoint", "add", "post", "--mail", "a@example.com,b@example.org", "--smtp",
                 server.url(), "--from", "nullspend@example.net", "--allow-private")
        event = told.happens("noted", "customer:é\nBcc: evil@example.com", "over\n.\nthe limit")
        letter = server.take()
        equal((letter.sender, letter.recipients),
              ("nullspend@example.net", ["a@example.com", "b@example.org"]))
        message = letter.message
        equal(message["To"], "a@example.com, b@example.org")
        equal(message["Message-ID"], f"<{event}@example.net>")
        check(message["Bcc"] is None and b"\nBcc" not in letter.raw, "a header was injected")
        equal(message["Subject"],
              "[NullSpend] customer:é Bcc: evil@example.com: over . the limit")
        check(message["Date"].datetime is not None, "no date")
        check("\n.\nthe limit" in message.get_content().replace("\r\n", "\n"), "the text is cut")
        check(letter.raw.isascii(), "what is not ASCII is not coded")
        check(all(len(line) <= 78 for line in letter.raw.split(b"\r\n")), "a long line")
        equal(told.await_state(event, "sent")[2], "250")


@test
def a_mail_that_is_refused_is_dead_and_one_that_is_put_off_waits():
    with Told() as told, receiver.Mail() as server:
        told.cli("endpoint", "add", "post", "--mail", "a@example.com", "--smtp", server.url(),
                 "--from", "nullspend@example.net", "--allow-private")
        server.reply_to_recipients = "451 later"
        event = told.happens()
        equal(told.await_attempt(event, 1)[:3], ["pending", "1", "451"])
        server.reply_to_recipients = "550 nobody"
        told.due()
        equal(told.await_state(event, "dead")[:3], ["dead", "2", "550"])


# --- nothing is lost, nothing is slowed ----------------------------------------------------------

@test
def what_was_sent_is_not_sent_again_and_what_was_not_is_after_kills_of_everything():
    with Told() as told, receiver.Http() as hook:
        told.hook("hook", hook.url())
        sent = told.happens()
        told.await_state(sent, "sent")
        equal(hook.take().headers["X-NullSpend-Webhook-Id"], sent)
        # The notifier alone.
        notifier, = told.notifiers()
        with hook.hanging():
            caught = told.happens()
            equal(hook.take().headers["X-NullSpend-Webhook-Id"], caught)
            os.kill(notifier, signal.SIGKILL)
            await_that(lambda: told.notifiers() not in ([], [notifier]), "a new notifier")
        told.due()
        equal(hook.take().headers["X-NullSpend-Webhook-Id"], caught)
        equal(told.await_state(caught, "sent")[1], "2", "attempts")
        # The collector, and its notifier with it.
        notifier, = told.notifiers()
        with hook.hanging():
            cut = told.happens()
            equal(hook.take().headers["X-NullSpend-Webhook-Id"], cut)
            told.stop_collector(signal.SIGKILL)
            await_that(lambda: not os.path.exists(f"/proc/{notifier}"), "the notifier's end")
        meanwhile = told.happens()
        told.due()
        told.start()
        equal({hook.take().headers["X-NullSpend-Webhook-Id"] for _ in range(2)}, {cut, meanwhile})
        told.await_state(cut, "sent")
        told.await_state(meanwhile, "sent")
        # An orderly end, too.
        notifier, = told.notifiers()
        equal(told.stop_collector(), 0, "exit")
        check(not os.path.exists(f"/proc/{notifier}"), "the notifier is still there")
        told.start()
        last = told.happens()
        told.await_state(last, "sent")
        equal(hook.take().headers["X-NullSpend-Webhook-Id"], last)
        check(hook.nothing_came(), "something was sent twice")


@test
def what_a_receiver_said_while_postgres_was_away_is_written_when_it_is_back():
    with Told() as told, receiver.Http() as hook:
        told.hook("hook", hook.url())
        with hook.hanging():
            event = told.happens()
            hook.take()
            CLUSTER.stop()
        try:
            told.await_query("status", lambda status: status["deliveries"]["sent"] == 1)
        finally:
            CLUSTER.start()
        equal(told.await_state(event, "sent"), ["sent", "1", "200", ""])
        after = told.happens()
        told.await_state(after, "sent")
        equal(hook.take().headers["X-NullSpend-Webhook-Id"], after)
        check(hook.nothing_came(), "something was sent twice")


@test
def a_receiver_that_hangs_slows_neither_the_gate_nor_other_receivers():
    with Told() as told, receiver.Http() as slow, receiver.Http() as quick:
        told.hook("slow", slow.url())
        told.hook("quick", quick.url())
        with slow.hanging():
            events = [told.happens() for _ in range(10)]
            for _ in range(4):
                slow.take()
            # Its share is under way, and everything else goes on.
            for event in events:
                told.await_state(event, "sent", "quick")
            with messages.Client(told.endpoint) as speaker:
                speaker.hello()
                verdict = speaker.ask("CHECK", **messages.call())
                equal(messages.word("decision", verdict["decision"]), "allow")
            check(slow.nothing_came(), "more than its share is under way")
            equal(told.write("select count(*) from nullspend.delivery_status where endpoint = 'slow' "
                             "and state = 'sent'"), "0", "sent to who did not answer")
        for event in events:
            told.await_state(event, "sent", "slow")


@test
def a_name_that_nobody_resolves_holds_up_nothing():
    resolver = toolchains.compiled(os.path.join(lab.ROOT, "tests/preload/names_that_hang.c"),
                                   ["-shared", "-fPIC"])
    with Told(LD_PRELOAD=resolver) as told, receiver.Http() as hook:
        told.hook("lost", "http://receiver.hangs/", "--entity", "agent:*")
        told.hook("hook", hook.url())
        event = told.happens("noted", "agent:a")
        told.await_state(event, "sent", "hook")
        await_that(lambda: told.delivery(event, "lost")[3] != "", "the end of the attempt")
        equal(told.delivery(event, "lost")[:3], ["pending", "1", "NULL"])
        told.await_state(told.happens(), "sent", "hook")
        notifier, = told.notifiers()
        equal(told.stop_collector(), 0, "exit")
        check(not os.path.exists(f"/proc/{notifier}"), "the notifier is still there")


@test
def an_endpoint_that_cannot_be_is_refused_with_the_reason():
    with Told() as told:
        def refused(words, *arguments):
            done = told.cli("endpoint", "add", *arguments, check=False)
            equal(done.returncode, 2, f"exit of {arguments}")
            check(words in done.stderr, f"{arguments}: {done.stderr}")
        refused("one of --webhook", "x")
        refused("one of --webhook", "x", "--webhook", "https://a/", "--slack", "https://b/")
        refused("a URL is https://", "x", "--webhook", "http://example.com/")
        refused("a URL is https://", "x", "--webhook", "https://user:pass@example.com/")
        refused("a URL is https://", "x", "--webhook", "ftp://example.com/", "--allow-private")
        refused("no blanks", "x", "--webhook", "https://example.com/ x")
        refused("endpoint's name", "a b", "--webhook", "https://example.com/")
        refused("kinds are words", "x", "--webhook", "https://example.com/", "--kinds", "No!")
        refused("--smtp", "x", "--mail", "a@example.com")
        refused("each NAME@HOST", "x", "--mail", "a@example.com\nBcc: b@example.com", "--smtp",
                "smtp://example.com", "--from", "c@example.com")
        refused("each NAME@HOST", "x", "--mail", "a@example.com", "--smtp", "smtp://example.com",
                "--from", "c@example.com>\r\nX: y")
        told.cli("endpoint", "add", "x", "--webhook", "https://example.com/")
        refused("there already", "x", "--webhook", "https://example.com/")
        equal(told.cli("endpoint", "show", "y", check=False).returncode, 4)
        equal(told.cli("endpoint", "rotate", "y", check=False).returncode, 4)
        told.cli("endpoint", "rm", "x")
        equal(told.json("endpoint", "list"), [])


main()
