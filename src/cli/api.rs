//! The client side of the HTTP API (CONTRACT §2): one request to a running server, and its refusals as sentences that say
//! what to do. Used by the commands that talk to a server.

use std::{
    fmt::{Display, Write as _},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use serde_json::Value;
use ureq::{
    Agent, http,
    tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem},
};

use super::{Failure, table::plain};

/// Longer than any honest answer takes; a stuck server must not hang a terminal.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub(super) struct Server {
    /// The server
    #[arg(long, env = "DORMOUSE_URL", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    url: String,
    /// One of the server's api.keys
    #[arg(long, env = "DORMOUSE_API_KEY", hide_env_values = true, value_name = "KEY")]
    api_key: Option<String>,
    /// Whom to believe about the server's certificate instead of the usual authorities: a file of certificates in PEM
    #[arg(long, env = "DORMOUSE_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Keeps the connection between requests; shared by the threads of a command.
    #[arg(skip)]
    agent: OnceLock<Agent>,
}

/// An error that the server answered with.
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) message: String,
}

impl Server {
    /// # Errors
    /// No server, no use of the key, or no Dormouse: a sentence. What the server itself refuses is the inner error.
    pub(super) fn get(&self, path: &str) -> Result<Result<Value, Refused>, Failure> {
        self.send(http::Request::get(self.address(path)?), Vec::new())
    }

    /// # Errors
    /// As [`Server::get`].
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Result<Value, Refused>, Failure> {
        let request = http::Request::post(self.address(path)?).header("Content-Type", "application/json");
        self.send(request, body.to_string().into_bytes())
    }

    /// The server as it was named, for sentences.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    fn address(&self, path: &str) -> Result<String, Failure> {
        let base = self.url.strip_suffix('/').unwrap_or(&self.url);
        match base.split_once("://") {
            Some(("http" | "https", host)) if !host.is_empty() => Ok(format!("{base}{path}")),
            None if !base.is_empty() && !base.contains('/') => Ok(format!("http://{base}{path}")),
            _ => Err(Failure::usage(format!("{:?} is no URL such as http://127.0.0.1:8080", self.url))),
        }
    }

    fn send(&self, mut request: http::request::Builder, body: Vec<u8>) -> Result<Result<Value, Refused>, Failure> {
        if let Some(key) = &self.api_key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        let request = request.body(body).map_err(|error| Failure::usage(format!("{}: {error}", self.url)))?;
        let agent = match self.agent.get() {
            Some(agent) => agent,
            None => {
                let made = agent(self.ca.as_deref())?;
                self.agent.get_or_init(|| made)
            }
        };
        let mut response = agent.run(request).map_err(|error| self.unreachable(&error))?;
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string().map_err(|error| self.unreachable(&error))?;
        let body: Option<Value> = serde_json::from_str(&text).ok();
        let message = body.as_ref().and_then(|body| body["error"]["message"].as_str()).map(plain);
        match (status, body) {
            (200..=299, Some(body)) => Ok(Ok(body)),
            (401, _) => Err(Failure::new(match self.api_key {
                Some(_) => {
                    "the server does not know this key: give one of its api.keys with --api-key or DORMOUSE_API_KEY"
                }
                None => "the server wants a key: give one of its api.keys with --api-key or DORMOUSE_API_KEY",
            })),
            (403, _) => Err(Failure::new(format!(
                "the server does not let this command in ({}): set api.keys there, and give one that has the scope with --api-key or \
                 DORMOUSE_API_KEY",
                message.unwrap_or_else(|| "HTTP 403".to_owned())
            ))),
            (400..=599, Some(_)) if message.is_some() => {
                Ok(Err(Refused { status, message: message.unwrap_or_default() }))
            }
            _ => Err(Failure::new(format!(
                "{} answered with HTTP {status} and no JSON of ours: is that a Dormouse server?",
                self.url
            ))),
        }
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let reason = match error {
            ureq::Error::Io(error) => error.to_string(),
            other => other.to_string(),
        };
        if reason.contains("certificate") {
            return Failure::new(format!(
                "{} shows a certificate that is not believed ({reason}): name the file of who vouches for it with --ca or \
                 DORMOUSE_CA",
                self.url
            ));
        }
        Failure::new(format!(
            "no server answers at {} ({reason}): start one with `dormouse serve`, or name another with --url or DORMOUSE_URL",
            self.url
        ))
    }
}

fn agent(ca: Option<&Path>) -> Result<Agent, Failure> {
    let mut roots: Vec<Certificate<'static>> = Vec::new();
    if let Some(file) = ca {
        let failed = |error: &dyn Display| Failure::usage(format!("{}: {error}", file.display()));
        let text = std::fs::read(file).map_err(|error| failed(&error))?;
        for item in parse_pem(&text) {
            if let PemItem::Certificate(certificate) = item.map_err(|error| failed(&error))? {
                roots.push(certificate);
            }
        }
        if roots.is_empty() {
            return Err(failed(&"holds no certificate in PEM"));
        }
    }
    let roots = if roots.is_empty() { RootCerts::WebPki } else { RootCerts::new_with_certs(&roots) };
    let agent = Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .http_status_as_error(false)
        .timeout_global(Some(TIMEOUT))
        // Never through a proxy from the environment: the server is near, and the key is secret.
        .proxy(None)
        .allow_non_standard_methods(true)
        .build();
    Ok(agent.into())
}

/// A name as one part of a path.
pub(super) fn path_part(name: &str) -> String {
    name.bytes().fold(String::with_capacity(name.len()), |mut part, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            part.push(char::from(byte));
        } else {
            let _ = write!(part, "%{byte:02X}");
        }
        part
    })
}

/// JSON for people: indented.
pub(super) fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Result<String, u8> {
        Server { url: url.to_owned(), api_key: None, ca: None, agent: OnceLock::new() }
            .address("/v1/node")
            .map_err(|failure| failure.code)
    }

    #[test]
    fn a_url_may_lack_its_scheme_and_end_with_a_slash() {
        assert_eq!(address("http://h:1/"), Ok("http://h:1/v1/node".to_owned()));
        assert_eq!(address("localhost:8080"), Ok("http://localhost:8080/v1/node".to_owned()));
        assert_eq!(address("https://h"), Ok("https://h/v1/node".to_owned()));
        for wrong in ["https://", "ftp://h", "http://", ""] {
            assert_eq!(address(wrong), Err(2), "{wrong:?}");
        }
    }

    #[test]
    fn a_name_cannot_leave_its_part_of_the_path() {
        assert_eq!(path_part("0-1.a_b~"), "0-1.a_b~");
        assert_eq!(path_part("../x?y#ü"), "..%2Fx%3Fy%23%C3%BC");
    }
}
