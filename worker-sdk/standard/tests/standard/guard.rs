//! Calls reach what they may and nothing else.

use std::{
    io::ErrorKind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use baton_standard::{Lookup, Settings};
use serde_json::json;

use super::{
    call, failure,
    service::{Service, echoing},
    settings, told, worker, worker_with,
};

/// Every name is this machine; counts how often it was asked.
fn all_names_are_here(settings: Settings) -> (Settings, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let lookup = Lookup::new(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Ok(vec![[127, 0, 0, 1].into()]))
    });
    (Settings { lookup, ..settings }, asked)
}

#[tokio::test]
async fn without_permission_nothing_near_is_reached() {
    let service = Service::start(echoing()).await;
    let port = service.address.port();
    let worker = worker(&[]);
    for host in [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::]",
        "169.254.169.254",
        "10.0.0.1",
        "[fd00:ec2::254]",
    ] {
        let input =
            json!({"method": "get", "endpoint": {"uri": format!("http://{host}:{port}/echo/x")}});
        let failure = failure(&worker, "http", input).await;
        assert_eq!(told(&failure), ("authorization", "address-refused", 403, false), "{host}");
    }
    for uri in ["file:///etc/passwd", "ftp://example.com/", "unix:/run/x"] {
        let failure =
            failure(&worker, "http", json!({"method": "get", "endpoint": {"uri": uri}})).await;
        assert_eq!(told(&failure), ("configuration", "scheme-refused", 400, false), "{uri}");
    }
    assert_eq!(service.requests(), 0);
}

#[tokio::test]
async fn a_public_name_that_leads_here_is_refused() {
    let service = Service::start(echoing()).await;
    let port = service.address.port();
    let (settings, asked) = all_names_are_here(settings(&[]));
    let worker = worker_with(settings);
    let input =
        json!({"method": "get", "endpoint": {"uri": format!("http://rebind.test:{port}/echo/x")}});
    let refused = failure(&worker, "http", input).await;
    assert_eq!(told(&refused), ("authorization", "address-refused", 403, false));
    let document = json!({"document": {"endpoint": {"uri": format!("http://rebind.test:{port}/echo/x")}}, "operationId": "x"});
    assert_eq!(failure(&worker, "openapi", document).await.title, "address-refused");
    let grpc = json!({"proto": {"endpoint": {"uri": format!("http://rebind.test:{port}/echo/x")}},
                      "service": {"name": "x", "host": "rebind.test", "port": port}, "method": "x"});
    assert_eq!(failure(&worker, "grpc", grpc).await.title, "address-refused");
    assert_eq!((asked.load(Ordering::Relaxed), service.requests()), (3, 0));
}

#[tokio::test]
async fn a_connection_is_made_to_the_very_addresses_that_were_checked() {
    let service = Service::start(echoing()).await;
    let port = service.address.port();
    let (settings, asked) = all_names_are_here(settings(&[&format!("ledger.test:{port}")]));
    let worker = worker_with(settings);
    let input =
        json!({"method": "get", "endpoint": {"uri": format!("http://ledger.test:{port}/echo/x")}});
    assert_eq!(
        call(&worker, "http", input).await["headers"]["host"],
        format!("ledger.test:{port}")
    );
    // One lookup for one connection: there is no second answer that could differ from the one that was checked.
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let other =
        json!({"method": "get", "endpoint": {"uri": format!("http://other.test:{port}/echo/x")}});
    assert_eq!(failure(&worker, "http", other).await.title, "address-refused");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn with_permission_everything_near_is_reached() {
    let service = Service::start(echoing()).await;
    let mut settings = settings(&[]);
    settings.hosts.private = true;
    let input = json!({"method": "get", "endpoint": {"uri": service.url("/echo/x")}});
    assert_eq!(call(&worker_with(settings), "http", input).await["uri"], "/echo/x");
}

#[tokio::test]
async fn a_host_is_where_the_settings_say() {
    let service = Service::start(echoing()).await;
    let with = |hosts: &[&str], port: u16| {
        let known = format!("ledger.test=127.0.0.1:{port}").parse().unwrap();
        let lookup = Lookup::new(|_| std::future::ready(Err(ErrorKind::NotFound.into())));
        worker_with(Settings { lookup: lookup.with([known]), ..settings(hosts) })
    };
    let input = |port: &str| json!({"method": "get", "endpoint": {"uri": format!("http://ledger.test{port}/echo/x")}});
    let port = service.address.port();
    let worker = with(&["ledger.test"], port);
    assert_eq!(call(&worker, "http", input("")).await["headers"]["host"], "ledger.test");
    // A port that the call names is the one.
    let named = format!(":{port}");
    let worker = with(&[&format!("ledger.test{named}")], 1);
    let answer = call(&worker, "http", input(&named)).await;
    assert_eq!(answer["headers"]["host"], format!("ledger.test{named}"));
    // That it is known where a host is does not say that it may be called.
    let refused = failure(&with(&[], port), "http", input("")).await;
    assert_eq!(refused.title, "address-refused");
}
