//! An application on `dormouse::client`, in a thread of its own: it publishes when it is told to, and finds its server again by
//! itself. One of it beside a crowd of bare sockets, so that the client people use is measured too; the crowd stays bare,
//! because a client with a task and queues of its own costs the generator what the server is to be measured on.

use std::{
    net::SocketAddr,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use dormouse::client::Client;
use tokio::sync::{mpsc, oneshot};

use crate::clock;

/// What it has done.
pub(crate) struct Diary {
    /// When each publish was answered.
    pub(crate) answered: Vec<Instant>,
    /// Sockets that became live.
    pub(crate) sockets: u64,
}

/// See the file's head.
pub(crate) struct Application {
    channels: mpsc::Sender<&'static str>,
    thread: JoinHandle<Result<Diary>>,
}

impl Application {
    /// Starts one and waits until it is connected.
    pub(crate) fn start(address: SocketAddr, longest_backoff: Duration, seed: u64) -> Result<Self> {
        let (channels, asked) = mpsc::channel(4);
        let (opened, opens) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let connect = Client::connect(format!("ws://{address}/v1/gateway")).token("application");
        let connect = connect.longest_backoff(longest_backoff).timeout(Duration::from_secs(120)).seed(seed);
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                let client = connect.open().await?;
                // Whoever waits for this has not given up yet.
                let _ = opened.send(());
                publish(&client, asked).await
            })
        });
        if opens.blocking_recv().is_err() {
            return Err(thread
                .join()
                .ok()
                .and_then(Result::err)
                .context("the application ended before it was connected")?);
        }
        Ok(Self { channels, thread })
    }

    /// One publish there, as soon as there is a server.
    pub(crate) fn publish(&self, channel: &'static str) -> Result<()> {
        self.channels.blocking_send(channel).context("the application has ended")
    }

    /// Waits for all answers.
    pub(crate) fn finish(self) -> Result<Diary> {
        drop(self.channels);
        self.thread.join().ok().context("the application panicked")?
    }
}

async fn publish(client: &Client, mut asked: mpsc::Receiver<&'static str>) -> Result<Diary> {
    let mut answered = Vec::new();
    while let Some(channel) = asked.recv().await {
        client.publish(channel, "here").await.with_context(|| format!("publishing in {channel}"))?;
        answered.push(clock::now());
    }
    let sockets = client.vitals().sockets;
    client.close().await;
    Ok(Diary { answered, sockets })
}
