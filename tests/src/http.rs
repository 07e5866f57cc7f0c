//! One GET over HTTP/1.0, in which nobody answers in chunks: as much as health pages, metrics and Jaeger need.

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Status and body of a page.
///
/// # Errors
/// When nobody answers, or not in HTTP.
pub async fn get(address: &str, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("nobody listens on {address}"))?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").context("not an answer in HTTP")?;
    let status = head.split_whitespace().nth(1).context("no status in the answer")?;
    Ok((status.parse().context("the status is no number")?, body.to_owned()))
}
