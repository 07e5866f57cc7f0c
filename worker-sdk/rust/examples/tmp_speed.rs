#[path = "../tests/wire/broker.rs"]
mod broker;
#[path = "../tests/wire/engine.rs"]
mod engine;
use baton_worker::*;
use futures::StreamExt;
use prost::Message;
#[tokio::main]
async fn main() {
    let broker = broker::Broker::start().await;
    let e = engine::Engine::start(&broker, &["double"], std::time::Duration::from_secs(30)).await;
    tracing_subscriber::fmt()
        .with_max_level(if std::env::var_os("IDLE").is_some() {
            tracing::Level::DEBUG
        } else {
            tracing::Level::INFO
        })
        .init();
    let n: u32 =
        std::env::var_os("N").map_or(200_000, |n| n.into_string().unwrap().parse().unwrap());
    let mut acks = vec![];
    for step in 1..=n {
        let c = engine::command(
            "double",
            step,
            r#"{"n":5,"pad":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}"#,
        );
        let subject =
            format!("baton.work.finance.double.0193b0c4-7a00-7000-8000-00000000002a.{step}.1");
        acks.push(e.jetstream.publish(subject, c.encode_to_vec().into()).await.unwrap());
        if acks.len() == 1000 {
            for a in acks.drain(..) {
                a.await.unwrap();
            }
        }
    }
    for a in acks.drain(..) {
        a.await.unwrap();
    }
    println!("published");
    let mut sub = e.client.subscribe("baton.in.0.finance").await.unwrap();
    let options = Options { nats_url: broker.url(), ..Options::from_env().unwrap() };
    let w = Worker::new("finance")
        .with_options(options)
        .function("double", |_: Context, v: serde_json::Value| async move { Ok(v) });
    let stop = tokio_util::sync::CancellationToken::new();
    let t = std::time::Instant::now();
    let task = tokio::spawn(w.run_until(stop.clone().cancelled_owned()));
    let (mut got, mut batches) = (0, 0);
    while got < n {
        let m = sub.next().await.unwrap();
        got += baton_proto::v1::ResultBatch::decode(m.payload).unwrap().results.len() as u32;
        batches += 1;
    }
    println!("{} steps/s, {} per message", f64::from(n) / t.elapsed().as_secs_f64(), n / batches);
    e.until_settled().await;
    println!("settled {} steps/s", f64::from(n) / t.elapsed().as_secs_f64());
    if std::env::var_os("IDLE").is_some() {
        tokio::time::sleep(std::time::Duration::from_secs(100)).await;
        let t = std::time::Instant::now();
        e.dispatch("double", n + 1, "7").await;
        e.until_settled().await;
        println!("after idle {:?}", t.elapsed());
    }
    stop.cancel();
    task.await.unwrap().unwrap();
    println!(
        "cpu {}",
        std::fs::read_to_string("/proc/self/stat")
            .unwrap()
            .split(' ')
            .skip(13)
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
    );
}
