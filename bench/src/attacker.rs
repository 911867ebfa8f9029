//! The attackers' process of `attacks`: carries out one attack when it is told to, rests when it is told to, and tells what it
//! was answered. Stands for another machine, which is why it runs aside.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{
    arsenal,
    assault::Assault,
    team::{self, Orders},
};

/// What the process is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) address: SocketAddr,
    pub(crate) seed: u64,
    pub(crate) attack: String,
    /// With the part of its rate that this needs.
    pub(crate) quick: bool,
}

/// What it is told later.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    Attack,
    Rest,
    /// Rest, and tell the answers.
    Finish,
}

/// The hidden command.
pub(crate) fn serve() -> Result<bool> {
    let orders = Orders::listen();
    let task: Task = orders.wait()?;
    let attack = arsenal::find(&task.attack).context("there is no such attack")?;
    let mut assault = Assault::prepare(attack, &task)?;
    team::answer(&true)?;
    loop {
        match orders.next()? {
            Some(Order::Attack) => assault.begin(),
            Some(Order::Rest) => assault.rest(),
            Some(Order::Finish) => break,
            None => {}
        }
        assault.turn()?;
    }
    assault.rest();
    team::answer(&assault.answers)?;
    // The end of the input is the end.
    while orders.wait::<Order>().is_ok() {}
    Ok(true)
}
