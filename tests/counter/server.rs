//! A server with the example and the [`Stubborn`] mounted, and its HTTP side for looking at it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use dormouse::{
    clock::Clock,
    config::{Config, Engine},
    node::{Running, Server},
};
use serde_json::Value;
use ureq::Agent;

use crate::{client::Client, example::Counter, stubborn::Stubborn};

/// See the module's text. Dropped, it stops.
pub(crate) struct Service {
    running: Running,
    agent: Agent,
    folder: tempfile::TempDir,
}

/// Nothing is kept on disk but crash files, nobody is limited, and it does not wait for clients that stay.
pub(crate) fn config(folder: &tempfile::TempDir) -> Config {
    let mut config = Config::default();
    config.listen.addr = SocketAddr::from(([127, 0, 0, 1], 0));
    config.listen.drain = Duration::from_millis(500);
    (config.store.engine, config.store.path) = (Engine::Memory, folder.path().to_owned());
    (config.shards.count, config.chaos.enabled) = (2, true);
    (config.limits.frames_per_second, config.limits.bytes_per_second) = (0, 0);
    // Crashes of a test spend nothing; who wants to spend it says so.
    config.supervision.max_restarts = 1_000_000;
    config
}

impl Service {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = config(&folder);
        change(&mut config);
        let server = Server::new(config).mount::<Counter>("/counter").mount::<Stubborn>("/stubborn/");
        let running = server.start().expect("it starts");
        let agent = Agent::config_builder().timeout_global(Some(Duration::from_secs(30))).proxy(None).build().into();
        Self { running, agent, folder }
    }

    /// A visitor of a room, who has heard its total.
    pub(crate) fn visitor(&self, room: &str, total: i64) -> Client {
        let mut client = self.client(&format!("/counter?room={room}"));
        client.hears(&format!("total {total}"));
        client
    }

    pub(crate) fn client(&self, path: &str) -> Client {
        Client::open(self.address(), path)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running.address()
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let mut answer = self.agent.get(format!("http://{}{path}", self.address())).call().expect("an answer");
        answer.body_mut().read_json().expect("json")
    }

    /// The status of an answer.
    pub(crate) fn status(&self, method: &str, path: &str) -> u16 {
        let request = ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", self.address()));
        let answer = self.agent.run(request.body(()).expect("a request"));
        match answer {
            Ok(answer) => answer.status().as_u16(),
            Err(ureq::Error::StatusCode(status)) => status,
            Err(error) => panic!("no answer: {error}"),
        }
    }

    /// How many actors a fault has hit.
    pub(crate) fn chaos(&self, order: &Value) -> u64 {
        let mut answer =
            self.agent.post(format!("http://{}/v1/chaos", self.address())).send_json(order).expect("an answer");
        answer.body_mut().read_json::<Value>().expect("json")["hit"].as_u64().expect("a number")
    }

    /// The connections of an app.
    pub(crate) fn connections(&self, app: &str) -> Vec<Value> {
        let list = self.get(&format!("/v1/connections?limit=1000&app={app}"));
        list["connections"].as_array().expect("a list").clone()
    }

    /// A metric, summed over its labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        // Shards tell what they have counted when they are counted.
        self.get("/v1/node");
        let mut page = self.agent.get(format!("http://{}/metrics", self.address())).call().expect("a page");
        let page = page.body_mut().read_to_string().expect("text");
        let of = |line: &str| {
            let (sample, value) = line.rsplit_once(' ')?;
            (sample.split('{').next() == Some(name)).then(|| value.parse::<f64>().expect("a number"))
        };
        page.lines().filter_map(of).sum()
    }

    /// The texts of so many crash files, the oldest first, once they are there.
    pub(crate) fn crash_files(&self, count: usize) -> Vec<String> {
        let folder: PathBuf = self.folder.path().join("crashes");
        loop {
            let entries = std::fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.expect("an entry").path());
            let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
            files.sort();
            if files.len() >= count {
                return files.iter().map(|file| std::fs::read_to_string(file).expect("a file")).collect();
            }
            std::thread::yield_now();
        }
    }

    /// Drains it; it ends well.
    pub(crate) fn stop(self) {
        self.running.stop().expect("it ends well");
    }
}

/// Looks until it is so; what has not come by then will not come.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let clock = Clock::start();
    while !is_so() {
        assert!(clock.elapsed() < Duration::from_secs(60), "it never came to: {what}");
    }
}
