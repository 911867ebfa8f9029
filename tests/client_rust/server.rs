//! A server of the built binary: started on a port of the system's, killed without mercy, started again where it was. Stopping
//! is part of every test: what was started ends.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::sync_channel,
    thread::JoinHandle,
};

use dormouse::client::{Client, Connect};

pub(crate) struct Server {
    process: Child,
    /// Reads the log to its end, so that a full pipe never stops the server.
    log: Option<JoinHandle<()>>,
    pub(crate) address: SocketAddr,
    settings: Vec<String>,
    folder: tempfile::TempDir,
}

impl Server {
    /// Starts one with these `key=value` settings, and limits that keep tests from waiting for each other.
    pub(crate) fn start(settings: &[&str]) -> Self {
        let generous = ["limits.publish_per_second=1000000", "limits.publish_burst=1000000", "chaos.enabled=true"];
        let settings: Vec<String> = generous.iter().chain(settings).map(ToString::to_string).collect();
        let folder = tempfile::tempdir().expect("a folder");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (process, log, address) = serve(any, &settings, folder.path());
        Self { process, log: Some(log), address, settings, folder }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/v1/gateway", self.address)
    }

    /// A client of this server, not open yet.
    pub(crate) fn client(&self, user: &str) -> Connect {
        Client::connect(self.url()).token(user)
    }

    /// SIGKILL: no goodbye to anybody.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it ran");
        self.gone();
    }

    /// SIGTERM: it asks its clients to leave, and ends well.
    pub(crate) fn terminate(&mut self) {
        let sent = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "the server had ended");
    }

    /// Waits for its end; whether that was a good one.
    pub(crate) fn gone(&mut self) -> bool {
        let status = self.process.wait().expect("a child");
        if let Some(log) = self.log.take() {
            log.join().expect("the log was read");
        }
        status.success()
    }

    /// On the same port, with the same store.
    pub(crate) fn restart(&mut self) {
        let (process, log, address) = serve(self.address, &self.settings, self.folder.path());
        (self.process, self.log, self.address) = (process, Some(log), address);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.log.is_some() {
            drop(self.process.kill());
            self.gone();
        }
    }
}

fn serve(listen: SocketAddr, settings: &[String], folder: &Path) -> (Child, JoinHandle<()>, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dormouse"));
    command.args(["serve", "--listen", &listen.to_string(), "--set", &format!("store.path={folder:?}")]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    let streams = (Stdio::null(), Stdio::null(), Stdio::piped());
    let mut process = command.stdin(streams.0).stdout(streams.1).stderr(streams.2).spawn().expect("the binary starts");
    let log = BufReader::new(process.stderr.take().expect("piped"));
    let (found, address) = sync_channel(1);
    let log = std::thread::spawn(move || {
        let mut lines = Vec::new();
        for line in log.lines().map_while(Result::ok) {
            if let Some(rest) = line.split("listening addr=").nth(1) {
                let address = rest.split(' ').next().and_then(|address| address.parse::<SocketAddr>().ok());
                let _ = found.try_send(address.expect("an address"));
            }
            lines.push(line);
        }
        let _ = found.try_send(SocketAddr::from(([0, 0, 0, 0], 0)));
        drop(lines);
    });
    let address = address.recv().expect("the log says where it listens");
    assert_ne!(address.port(), 0, "the server ended instead of listening on {listen}");
    (process, log, address)
}
