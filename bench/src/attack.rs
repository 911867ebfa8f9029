//! What an attack is: how many sockets, how each begins, what it says again and again, and what it must be answered. All of
//! it is data, so that another attack is another row of the `arsenal`.

use crate::{dice::Dice, message};

/// See the file's head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    /// What the server is told for it, beside [`SETS`].
    pub(crate) sets: &'static [&'static str],
    /// Seconds until the answer comes: no phase is shorter.
    pub(crate) seconds: u64,
    /// Sockets at once. One that ends is dialled again.
    pub(crate) sockets: usize,
    /// Sockets dialled a second, all together.
    pub(crate) dials: f64,
    /// The head of a socket's request, whole or not, by host and number of the socket.
    pub(crate) head: fn(&str, usize) -> String,
    /// It speaks on before its handshake is answered.
    pub(crate) drips: bool,
    /// Bytes said once.
    pub(crate) first: fn(&mut Dice, usize) -> Vec<u8>,
    /// Bytes said again and again, as long as the socket takes them; made anew for each socket that is opened.
    pub(crate) then: fn(&mut Dice, usize) -> Vec<u8>,
    /// How often a second.
    pub(crate) rate: f64,
    /// The part of that which `--quick` needs for its lower limits.
    pub(crate) in_quick: f64,
    /// It reads nothing.
    pub(crate) deaf: bool,
    /// It is not the server that is attacked: what the attackers' own work costs the machine.
    pub(crate) elsewhere: bool,
    /// Answers one of which must come.
    pub(crate) right: &'static [&'static str],
    /// Answers that may come as well. Any other is wrong.
    pub(crate) also: &'static [&'static str],
}

/// For every attack: bystanders publish more than a person does, attackers may no more than they.
pub(crate) const SETS: [&str; 2] = ["limits.publish_per_second=200", "limits.publish_burst=200"];

/// An attack with everything that most have in common: a handshake as a user of its own, then silence.
pub(crate) const PLAIN: Attack = Attack {
    name: "",
    sets: &[],
    seconds: 3,
    sockets: 4,
    dials: 100.0,
    head: as_somebody,
    drips: false,
    first: nothing,
    then: nothing,
    rate: 1.0,
    in_quick: 0.1,
    deaf: false,
    elsewhere: false,
    right: &[],
    also: &["101"],
};

pub(crate) fn as_somebody(host: &str, socket: usize) -> String {
    message::gateway(host, &format!("mallory-{socket}"), None)
}

pub(crate) fn nothing(_: &mut Dice, _: usize) -> Vec<u8> {
    Vec::new()
}
