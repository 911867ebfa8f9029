//! The floor under a fan-out without batching: a process that does nothing but `send()` the same frame to one socket
//! after the other. It runs as a second copy of this program, so that its processor time is its own.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
};

use anyhow::{Context, Result};
use clap::Args;
use socket2::{Domain, Socket, Type};

use crate::{
    crowd::{Arrival, gather},
    frame,
    load::{Load, Span},
    rounds::{self, Pace, Rounds},
    server::Server,
    target::{Target, TargetOptions},
};

/// Options of the hidden command that is the sending process.
#[derive(Args, Debug)]
pub(crate) struct SenderOptions {
    #[arg(long)]
    subscribers: usize,
}

/// The sending process. The first connection tells the frame (its length in four bytes, then itself) and after that asks
/// for a round with each byte; all later connections are subscribers.
pub(crate) fn send_raw(options: &SenderOptions) -> Result<bool> {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    listener.listen(4096)?;
    let address = listener.local_addr()?.as_socket().context("no address")?;
    eprintln!("listening addr={address}");
    let accept = || -> io::Result<TcpStream> {
        let (socket, _) = listener.accept()?;
        socket.set_tcp_nodelay(true)?;
        Ok(socket.into())
    };
    let mut control = accept()?;
    let mut length = [0; 4];
    control.read_exact(&mut length)?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    control.read_exact(&mut frame)?;
    let mut subscribers = (0..options.subscribers).map(|_| accept()).collect::<io::Result<Vec<_>>>()?;
    let mut asked = [0; 64];
    loop {
        // Blocking on purpose: a full socket must cost waiting, not processor time.
        let rounds = control.read(&mut asked)?;
        if rounds == 0 {
            return Ok(true);
        }
        for _ in 0..rounds {
            for subscriber in &mut subscribers {
                subscriber.write_all(&frame)?;
            }
        }
    }
}

/// Measures the floor with `payload` in each frame and the same subscribers, pace and client as the server had.
pub(crate) fn measure(
    options: &TargetOptions,
    payload: &[u8],
    subscribers: usize,
    pace: Pace,
    span: std::time::Duration,
) -> Result<(Rounds, Load)> {
    let arguments = ["raw-send".to_owned(), "--subscribers".to_owned(), subscribers.to_string()];
    let target = Target::started(Server::start(&std::env::current_exe()?, &arguments)?);
    let mut swarm = options.swarm(target.address)?;
    let control = gather(&mut swarm, 1, 1, Arrival::Opened, |_| None)?.keys.start;
    let mut sent = Vec::new();
    frame::encode_as_server(&mut sent, frame::TEXT, payload);
    swarm.pour(control, &u32::try_from(sent.len())?.to_be_bytes());
    swarm.pour(control, &sent);
    let crowd = gather(&mut swarm, subscribers, 128, Arrival::Opened, |_| None)?;
    rounds::drive(&mut swarm, &crowd.keys, pace, span / 8, |swarm, _| swarm.pour(control, b"."))?;
    let begun = Span::begin(&target)?;
    let rounds = rounds::drive(&mut swarm, &crowd.keys, pace, span, |swarm, _| swarm.pour(control, b"."))?;
    Ok((rounds, begun.end(&target)?))
}
