//! Secrets as the broker and the log see them: by name.

use async_nats::jetstream;
use baton_proto::v1::StepCommand;
use baton_tests::{DEADLINE, Setup, World, eventually};
use futures::TryStreamExt as _;
use prost::Message as _;

/// A department that no worker serves: the commands stay in the queue.
const SOURCE: &str = "document: { dsl: '1.0.3', namespace: lab, name: secret, version: '1.0.0' }
use: { secrets: [ shop-key, login ] }
do:
- ask:
    call: http
    with:
      method: get
      endpoint: { uri: 'https://shop.example', authentication: { basic: { use: login } } }
      headers: { Authorization: '${ \"Key \\($secrets.\"shop-key\")\" }' }
";

#[tokio::test]
async fn a_command_names_the_secrets_of_its_task_and_a_text_stands_for_each() {
    let world = World::begin(Setup::default()).await.unwrap();
    world.api.deploy(SOURCE).await.unwrap();
    let one = command(&world, &world.start("secret", "{}").await.unwrap()).await;
    let other = command(&world, &world.start("secret", "{}").await.unwrap()).await;

    let placeholder = |command: &StepCommand, name: &str| {
        let found = command.secrets.iter().find(|(_, known)| *known == name);
        found.map(|(placeholder, _)| placeholder.clone()).unwrap()
    };
    assert_eq!(one.secrets.len(), 2);
    placeholder(&one, "login");
    let input: serde_json::Value = serde_json::from_slice(&one.input).unwrap();
    let wanted = format!("Key {}", placeholder(&one, "shop-key"));
    assert_eq!(input["headers"]["Authorization"], wanted.as_str());
    let authentication = &input["endpoint"]["authentication"];
    assert_eq!(*authentication, serde_json::json!({"basic": {"use": "login"}}));
    assert_ne!(placeholder(&one, "shop-key"), placeholder(&other, "shop-key"));
    world.end().await.unwrap();
}

async fn command(world: &World, id: &str) -> StepCommand {
    let jetstream = jetstream::new(world.cluster.nats.connect().await.unwrap());
    let filter = format!("baton.work.lab.http.{id}.>");
    let queued = async || {
        let stream = jetstream.get_stream("BATON_WORK").await?;
        let subjects: Vec<_> = stream.info_with_subjects(&filter).await?.try_collect().await?;
        let Some((subject, _)) = subjects.first() else { return Ok(None) };
        let message = stream.get_last_raw_message_by_subject(subject).await?;
        Ok(Some(StepCommand::decode(message.payload)?))
    };
    eventually(DEADLINE, "the command is queued", queued).await.unwrap()
}
