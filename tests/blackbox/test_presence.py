"""Who is here: counts of users, batched changes, status, invisibility, parked sessions."""

import pytest
from client import eventually, fresh


class Watcher:
    """Somebody who subscribed with `presence:true` and keeps the list by the frames he gets."""

    def __init__(self, client, channel):
        self.client, self.channel = client, channel
        reply = client.subscribe(channel, presence=True)
        self.users = {each["user"]: each["status"] for each in reply["presence"]["users"]}
        self.count = reply["presence"]["count"]
        self.frames = []

    def until(self, **users):
        """Reads presence frames until the list is this."""
        while not (self.users == users and self.count == len(users)):
            frame = self.client.take("presence", channel=self.channel)
            self.frames.append(frame)
            for each in frame["joined"] + frame["changed"]:
                self.users[each["user"]] = each["status"]
            for user in frame["left"]:
                self.users.pop(user, None)
            self.count = frame["count"]


@pytest.fixture
def watched(server, join, enc):
    """A watcher alone in a channel of a namespace with presence."""
    channel = fresh("chat:")
    watcher = Watcher(join(server, fresh("watcher"), enc), channel)
    watcher.until(**{watcher.client.user: "online"})
    return watcher


def test_the_subscribe_reply_counts_who_is_here(server, join, enc):
    channel = fresh("chat:")
    users = sorted(fresh("user") for _ in range(3))
    for user in users:
        join(server, user, enc).subscribe(channel)
    watcher = Watcher(join(server, "watcher", enc), channel)
    watcher.until(**{user: "online" for user in [*users, "watcher"]})


def test_joined_left_and_changed_are_told(server, join, enc, watched):
    me = watched.client.user
    guest = join(server, "guest", enc)
    guest.subscribe(watched.channel)
    watched.until(**{me: "online", "guest": "online"})
    guest.request("status", status="busy")
    watched.until(**{me: "online", "guest": "busy"})
    assert any(each == {"user": "guest", "status": "busy"} for frame in watched.frames for each in frame["changed"])
    guest.request("unsubscribe", channel=watched.channel)
    watched.until(**{me: "online"})


def test_invisible_counts_as_absent(server, join, enc, watched):
    me = watched.client.user
    guest = join(server, "guest", enc)
    guest.subscribe(watched.channel)
    watched.until(**{me: "online", "guest": "online"})
    guest.request("status", status="invisible")
    watched.until(**{me: "online"})
    assert guest.request("presence", channel=watched.channel)["count"] == 1
    guest.request("status", status="idle")
    watched.until(**{me: "online", "guest": "idle"})


def test_identify_takes_a_status(server, join, enc, watched):
    guest = join(server, "guest", enc, status="busy")
    guest.subscribe(watched.channel)
    watched.until(**{watched.client.user: "online", "guest": "busy"})
    hidden = join(server, "hidden", enc, status="invisible")
    hidden.subscribe(watched.channel)
    assert watched.client.request("presence", channel=watched.channel)["count"] == 2


def test_users_are_counted_not_connections(server, join, enc, watched):
    me = watched.client.user
    first, second = join(server, "guest", enc), join(server, "guest", enc)
    first.subscribe(watched.channel)
    second.subscribe(watched.channel)
    watched.until(**{me: "online", "guest": "online"})
    first.bye()
    third = join(server, "third", enc)
    third.subscribe(watched.channel)
    watched.until(**{me: "online", "guest": "online", "third": "online"})
    assert not any("guest" in frame["left"] for frame in watched.frames)
    second.bye()
    watched.until(**{me: "online", "third": "online"})


def test_a_parked_user_stays_present_until_his_session_expires(start, join, enc):
    server = start({"session.resume_window": "3s"})
    channel = fresh("chat:")
    watcher = Watcher(join(server, "watcher", enc), channel)
    guest = join(server, "guest", enc)
    guest.subscribe(channel)
    watcher.until(watcher="online", guest="online")
    guest.cut()
    eventually(lambda: server.node()["connections"]["parked"] == 1, "the parked session")
    assert watcher.client.request("presence", channel=channel)["count"] == 2
    watcher.until(watcher="online")


def test_a_goodbye_leaves_at_once(server, join, enc, watched):
    guest = join(server, "guest", enc)
    guest.subscribe(watched.channel)
    watched.until(**{watched.client.user: "online", "guest": "online"})
    guest.bye()
    watched.until(**{watched.client.user: "online"})


def test_a_burst_of_arrivals_is_one_batch(server, join, watched):
    guests = [join(server, fresh("guest")) for _ in range(30)]
    for guest in guests:
        guest.subscribe(watched.channel)
    watched.until(**{watched.client.user: "online"}, **{guest.user: "online" for guest in guests})
    assert len(watched.frames) <= 10, "about one frame a second, not one for each"


def test_presence_is_for_those_who_asked(server, join, enc, watched):
    guest = join(server, enc=enc)
    assert guest.subscribe(watched.channel).get("presence") is None
    watched.until(**{watched.client.user: "online", guest.user: "online"})
    assert not [frame for frame in guest.settle() if frame["op"] == "presence"]


def test_the_presence_op_lists_users_and_when_they_were_seen(server, join, enc, watched):
    answer = join(server, enc=enc).request("presence", channel=watched.channel)
    assert answer["count"] == 1
    (one,) = answer["users"]
    assert (one["user"], one["status"]) == (watched.client.user, "online")
    assert one["last_seen"] > 1_700_000_000_000


def test_the_subscribe_reply_lists_a_hundred_at_most(server, join):
    channel = fresh("chat:")
    guests = [join(server, fresh("guest")) for _ in range(110)]
    for guest in guests:
        guest.subscribe(channel)
    eventually(lambda: guests[0].request("presence", channel=channel)["count"] == 110, "110 present")
    reply = join(server).subscribe(channel, presence=True)
    assert reply["presence"]["count"] in (110, 111)
    assert len(reply["presence"]["users"]) == 100


def test_a_crash_changes_nobodys_presence(server, join, enc, watched):
    me = watched.client.user
    guest = join(server, "guest", enc)
    guest.subscribe(watched.channel)
    watched.until(**{me: "online", "guest": "online"})
    watched.frames.clear()
    assert guest.refused("chaos", fault="panic")["code"] == "crashed"
    other = join(server, "other", enc)
    other.subscribe(watched.channel)
    watched.until(**{me: "online", "guest": "online", "other": "online"})
    assert all(frame["left"] == [] for frame in watched.frames)
    assert not any(each["user"] == "guest" for frame in watched.frames for each in frame["joined"])
