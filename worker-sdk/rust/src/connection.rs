//! The connection to NATS: made once, mended for ever.

use async_nats::{Client, ConnectOptions, Event};
use tokio::sync::watch;

use crate::{
    config::{Credentials, Options},
    delay::Delay,
    limits::{CLIENT_CAPACITY, REQUEST_TIMEOUT},
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the credentials file cannot be read")]
    Credentials(#[source] std::io::Error),
    #[error("no connection to NATS can be set up")]
    Connect(#[from] async_nats::ConnectError),
}

/// Returns at once, also when the broker is away; the receiver counts the connections made.
pub(crate) async fn connect(
    options: &Options,
    name: &str,
) -> Result<(Client, watch::Receiver<u64>), Error> {
    let (made, connections) = watch::channel(0);
    let mut connect = ConnectOptions::new()
        .name(name)
        .retry_on_initial_connect()
        .max_reconnects(None)
        .reconnect_delay_callback(Delay::nth)
        .client_capacity(CLIENT_CAPACITY)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .event_callback(move |event| {
            match event {
                Event::Connected => {
                    made.send_modify(|n| *n += 1);
                    tracing::info!("connected to the broker");
                }
                Event::Disconnected => tracing::warn!("the broker is away, connecting again"),
                Event::LameDuckMode => tracing::info!("the broker is about to go away"),
                Event::Draining | Event::Closed => {
                    tracing::info!("the connection to the broker is closed");
                }
                Event::SlowConsumer(subscription) => {
                    tracing::warn!(
                        subscription,
                        "messages were dropped, they will be delivered again"
                    );
                }
                Event::ServerError(error) => tracing::warn!(%error, "the broker refused something"),
                Event::ClientError(error) => {
                    tracing::warn!(%error, "the connection to the broker has an error");
                }
            }
            std::future::ready(())
        });
    if let Some(prefix) = &options.inbox_prefix {
        connect = connect.custom_inbox_prefix(prefix);
    }
    connect = match &options.credentials {
        Credentials::None => connect,
        Credentials::File(path) => {
            connect.credentials_file(path).await.map_err(Error::Credentials)?
        }
        Credentials::UserAndPassword(user, password) => {
            connect.user_and_password(user.clone(), password.clone())
        }
    };
    let servers: Vec<&str> = options.nats_url.split(',').map(str::trim).collect();
    Ok((connect.connect(servers).await?, connections))
}
