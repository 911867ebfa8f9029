"""Ways in: the URL shortcut, the Authorization header, sub-protocols, and WebSocket clients as they come."""

import pytest
from client import Client, Refused, channel_names, eventually, fresh


def test_the_url_identifies_and_subscribes_at_once(server, dial, enc):
    user, first, second = fresh("user"), fresh("room:"), fresh("room:")
    one = dial(server, enc, path=f"/v1/gateway?token={user}&subscribe={first},{second}")
    assert one.next()["op"] == "hello"
    ready = one.next()
    assert (ready["op"], ready["user"], ready["resumed"]) == ("ready", user, False)
    assert [each["channel"] for each in ready["subscriptions"]] == [first, second]
    for each in ready["subscriptions"]:
        assert isinstance(each["epoch"], str) and isinstance(each["offset"], int) and each["recovered"] is True
    one.publish(second, 1)
    assert one.take("event", channel=second)["data"] == 1


def test_the_authorization_header_identifies(server, dial, enc):
    user, channel = fresh("user"), fresh("room:")
    one = dial(server, enc, path=f"/v1/gateway?subscribe={channel}",
               additional_headers={"Authorization": f"Bearer {user}"})
    assert one.next()["op"] == "hello"
    ready = one.next()
    assert (ready["op"], ready["user"]) == ("ready", user)
    assert channel_names(ready["subscriptions"]) == {channel}


def test_the_url_takes_percent_escapes(server, dial):
    name = fresh("room:")
    one = dial(server, path=f"/v1/gateway?token={fresh('user')}&subscribe={name.replace(':', '%3A')}%2B1")
    one.take("hello")
    assert channel_names(one.take("ready")["subscriptions"]) == {f"{name}+1"}


def test_a_second_identify_after_the_url_is_a_bad_request(server, dial):
    one = dial(server, path="/v1/gateway?token=alice")
    one.take("ready")
    one.send("identify", token="alice")
    assert one.take("error")["code"] == "bad_request"


def test_a_direct_channel_admits_only_its_two(server, join, enc):
    alice, bob, eve = (fresh(name) for name in ("alice", "bob", "eve"))
    channel = f"dm:{'+'.join(sorted((alice, bob)))}"
    outsider = join(server, eve, enc)
    assert outsider.refused("subscribe", channel=channel)["code"] == "forbidden"
    assert outsider.refused("publish", channel=channel, data=1)["code"] == "forbidden"
    insider = join(server, alice, enc)
    insider.subscribe(channel)
    insider.publish(channel, "psst")
    assert insider.take("event", channel=channel)["data"] == "psst"


# WebSocket clients as they come.

def test_a_client_that_offers_compression_is_served(server, join, enc):
    one = join(server, enc=enc, compression="deflate")
    one.whoami()


def test_a_ping_is_answered(server, join):
    one = join(server)
    assert one.ws.ping(b"dormouse").wait(10)


def test_fragments_are_one_frame(server, join):
    one = join(server)
    text = Client.encode(one, {"op": "whoami", "id": 77})
    one.send_raw(iter([text[:5], text[5:9], "", text[9:]]))
    assert one.take("reply", id=77)["ok"]["user"] == one.user


def test_no_sub_protocol_means_json(server, dial):
    one = dial(server, offer=[])
    assert one.ws.subprotocol is None
    assert one.identify("alice")["user"] == "alice"


def test_the_sub_protocol_chosen_is_named(server, dial, enc):
    assert dial(server, enc).ws.subprotocol == f"dormouse.v1.{enc}"


def test_a_known_sub_protocol_is_found_among_unknown_ones(server, dial, enc):
    one = dial(server, enc, offer=["chat.v9", f"dormouse.v1.{enc}", "mqtt"])
    assert one.ws.subprotocol == f"dormouse.v1.{enc}"
    one.identify("alice")


def test_refusals_name_retry(server, join, enc):
    one = join(server, enc=enc)
    with pytest.raises(Refused) as refused:
        one.subscribe("no spaces")
    assert refused.value.error["retry"] == "never"


def test_a_dead_clients_connection_leaves_the_list(server, join):
    one = join(server)
    me = one.whoami()["connection"]
    assert server.http.get(f"/v1/connections/{me}").status_code == 200
    one.bye()
    eventually(lambda: server.http.get(f"/v1/connections/{me}").status_code == 404, "404 after the goodbye")
