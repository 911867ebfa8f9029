//! The README's example in Rust is this file's neighbour, word for word, and runs.

use crate::{server::Server, within};

mod snippet {
    include!("snippet.rs");
    pub(super) async fn run(url: &str) -> Result<(), ClientError> {
        talk(url).await
    }
}

#[tokio::test]
async fn the_example_of_the_readme_runs_as_it_stands_there() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let block = readme.split("<!-- run: rust-client -->\n```rust\n").nth(1).and_then(|rest| rest.split("```").next());
    assert_eq!(
        block,
        Some(include_str!("snippet.rs")),
        "README.md shows another example than tests/client_rust/snippet.rs"
    );
    let server = Server::start(&[]);
    within(snippet::run(&server.url())).await.unwrap();
}
