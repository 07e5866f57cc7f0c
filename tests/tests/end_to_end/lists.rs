//! Lists: by workflow, status and label, page by page.

use std::collections::BTreeSet;

use baton_proto::v1::{ListRequest, StartRequest, Status};
use baton_tests::world::start_request;
use baton_tests::{DEADLINE, Setup, World, eventually};

#[tokio::test]
async fn lists_are_complete_newest_first_and_the_same_page_by_page() {
    let world = World::begin(Setup { partitions: 3, ..Setup::default() }).await.unwrap();
    world.deploy("quick", "- quick:\n    set: { done: true }").await.unwrap();
    world.deploy("long", "- long:\n    wait: { hours: 1 }").await.unwrap();
    let mut workflows = world.api.workflows.clone();
    let mut started = Vec::new();
    for number in 0..60 {
        let mut request = start_request(if number % 3 == 0 { "long" } else { "quick" }, "{}");
        let region = if number % 2 == 0 { "north" } else { "south" };
        request.labels.insert("region".to_owned(), region.to_owned());
        request.labels.insert("team/name".to_owned(), "a".to_owned());
        started.push(workflows.start(request).await.unwrap().into_inner().id);
    }

    let list = async |request: ListRequest| world.api.list(request).await;
    let all = eventually(DEADLINE, "all are listed as they are", async || {
        let all = list(ListRequest::default()).await?;
        let completed = all.iter().filter(|i| i.status() == Status::Completed).count();
        Ok((all.len() == 60 && completed == 40).then_some(all))
    });
    let all = all.await.unwrap();
    let ids = all.iter().map(|instance| instance.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>(), started.iter().collect::<BTreeSet<_>>());
    let times = all.iter().map(|instance| instance.started_at.unwrap());
    let times = times.map(|at| (at.seconds, at.nanos)).collect::<Vec<_>>();
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");

    let mut pages = Vec::new();
    let mut request = ListRequest { page_size: 7, ..ListRequest::default() };
    loop {
        let page = workflows.list(request.clone()).await.unwrap().into_inner();
        assert!(page.instances.len() <= 7);
        pages.extend(page.instances.into_iter().map(|instance| instance.id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(pages, ids);

    let mut north = ListRequest { name: "long".to_owned(), ..ListRequest::default() };
    north.namespace = "lab".to_owned();
    north.labels.insert("region".to_owned(), "north".to_owned());
    let north = list(north).await.unwrap();
    assert_eq!(north.len(), 10);
    assert!(north.iter().all(|i| i.name == "long" && i.labels["region"] == "north"));
    let waiting = ListRequest { status: Status::Waiting.into(), ..ListRequest::default() };
    assert_eq!(list(waiting).await.unwrap().len(), 20);
    let since = ListRequest { started_after: all[9].started_at, ..ListRequest::default() };
    let later = times.iter().filter(|at| **at > times[9]).count();
    assert_eq!(list(since).await.unwrap().len(), later);
    let none = ListRequest { namespace: "elsewhere".to_owned(), ..ListRequest::default() };
    assert_eq!(list(none).await.unwrap(), []);
    let full = StartRequest { labels: all[0].labels.clone(), ..start_request("quick", "{}") };
    let id = workflows.start(full).await.unwrap().into_inner().id;
    assert_eq!(world.api.get(&id).await.unwrap().labels, all[0].labels);
    world.end().await.unwrap();
}
