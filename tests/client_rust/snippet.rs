use dormouse::client::{Client, ClientError};
use serde_json::{Value, json};

async fn talk(url: &str) -> Result<(), ClientError> {
    let client = Client::connect(url).token("erin").open().await?;
    let mut garden = client.subscribe("chat:garden").last(50).await?;
    let published = client.publish("chat:garden", &json!({ "text": "hello" })).await?;
    while let Some(event) = garden.next().await {
        println!("{} {}: {}", event.offset, event.from, event.data::<Value>()?["text"]);
        if event.offset == published.offset {
            break;
        }
    }
    client.close().await;
    Ok(())
}
