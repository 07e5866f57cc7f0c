//! Requests to the API.

use std::future::Future;

use baton_proto::v1::{
    AttemptQuery, CancelRequest, DeployRequest, GetDefinitionRequest, GetRequest, HistoryRequest,
    Instance, ListRequest, RerunRequest, ResumeRequest, StartAndWaitRequest, StartRequest,
    StartResponse, Status as InstanceStatus, SuspendRequest, TerminateRequest, WatchRequest,
};
use baton_tests::world::{code, start_request};
use baton_tests::{DEADLINE, Setup, World, eventually, workflow};
use prost_types::Timestamp;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

use crate::{log_ends, refused};

const METRIC: &str = "baton_refused_requests_total";
const PLAIN: &str = "- nothing:\n    set: { done: true }";
const CHECKED: &str = "\
document: { dsl: '1.0.3', namespace: lab, name: checked, version: '1.0.0' }
input:
  schema:
    document: { type: object, required: [n], properties: { n: { type: integer } } }
do:
  - nothing:
      set: { done: true }
";

/// A world with something in it, and what its logs are when it is at rest.
struct Calm {
    world: World,
    ends: Vec<u64>,
    id: String,
}

impl Calm {
    async fn begin() -> Self {
        let world = World::begin(Setup::default()).await.unwrap();
        world.deploy("plain", PLAIN).await.unwrap();
        world.api.deploy(CHECKED).await.unwrap();
        let id = world.run("plain", "{}").await.unwrap().id;
        let ends = log_ends(&world).await;
        // Lists follow a moment after.
        let listed = async || {
            let listed = world.api.list(ListRequest::default()).await?;
            Ok((listed.len() == 1).then_some(()))
        };
        eventually(DEADLINE, "the instance is listed", listed).await.unwrap();
        Self { world, ends, id }
    }

    /// The request must be refused with this code, and counted.
    async fn refuses<T: std::fmt::Debug>(
        &self,
        what: &str,
        wanted: (&str, Code),
        request: impl Future<Output = Result<Response<T>, Status>>,
    ) {
        let batond = &self.world.cluster.batond;
        let before = refused(batond, METRIC, wanted.0).await;
        let status = match request.await {
            Ok(answer) => panic!("{what} was taken: {answer:?}"),
            Err(status) => status,
        };
        assert_eq!((code(&status), status.code()), wanted, "{what}: {status:?}");
        assert!(!status.message().is_empty(), "{what} is refused without a word");
        let after = refused(batond, METRIC, wanted.0).await;
        assert!((after - before - 1.0).abs() < 0.1, "{what}: {before} became {after}");
    }

    async fn end(self) {
        let listed = self.world.api.list(ListRequest::default()).await.unwrap();
        assert_eq!(listed.len(), 1, "no instance more");
        assert_eq!(log_ends(&self.world).await, self.ends, "the log did not grow");
        let instance = self.world.api.get(&self.id).await.unwrap();
        assert_eq!(instance.status(), InstanceStatus::Completed);
        self.world.end().await.unwrap();
    }
}

#[tokio::test]
async fn a_start_that_cannot_be_is_refused() {
    let calm = Calm::begin().await;
    let workflows = calm.world.api.workflows.clone();
    let start = |request: StartRequest| {
        let mut workflows = workflows.clone();
        async move { workflows.start(request).await }
    };
    let invalid = ("invalid-argument", Code::InvalidArgument);
    let unknown = ("unknown-workflow", Code::NotFound);
    let large = ("too-large", Code::InvalidArgument);

    calm.refuses("an unknown name", unknown, start(start_request("nothing", "{}"))).await;
    let mut other = start_request("plain", "{}");
    other.version = "9.9.9".to_owned();
    calm.refuses("an unknown version", unknown, start(other.clone())).await;
    other.version = "not a version".to_owned();
    calm.refuses("no version", unknown, start(other)).await;

    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for input in ["{", "{\"a\":1}}", "nonsense", "{\"a\":01}", "NaN", "\u{0}", &deep] {
        calm.refuses(input, invalid, start(start_request("plain", input))).await;
    }
    let wrong = ("invalid-input", Code::InvalidArgument);
    for input in ["{}", r#"{"n":"one"}"#, "[]", "null"] {
        calm.refuses(input, wrong, start(start_request("checked", input))).await;
    }
    let megabyte = format!("\"{}\"", "x".repeat(1024 * 1024));
    calm.refuses("a megabyte", large, start(start_request("plain", &megabyte))).await;

    let mut keyed = start_request("plain", "{}");
    keyed.idempotency_key = "k".repeat(257);
    calm.refuses("a long key", large, start(keyed)).await;
    let labels = [
        (String::new(), String::new()),
        ("k".repeat(64), String::new()),
        ("no blanks".to_owned(), String::new()),
        ("long".to_owned(), "v".repeat(257)),
    ];
    for (key, value) in labels {
        let mut labelled = start_request("plain", "{}");
        labelled.labels.insert(key.clone(), value);
        calm.refuses(&format!("label {key:?}"), invalid, start(labelled)).await;
    }
    let mut labelled = start_request("plain", "{}");
    labelled.labels.extend((0..17).map(|number| (format!("l{number}"), String::new())));
    calm.refuses("17 labels", invalid, start(labelled)).await;

    let wait = |start: Option<StartRequest>, wait_ms: i64| {
        let mut workflows = workflows.clone();
        async move { workflows.start_and_wait(StartAndWaitRequest { start, wait_ms }).await }
    };
    calm.refuses("no start", invalid, wait(None, 1)).await;
    let plain = || Some(start_request("plain", "{}"));
    calm.refuses("a wait before now", invalid, wait(plain(), -1)).await;
    calm.refuses("a wait for ever", invalid, wait(plain(), i64::MAX)).await;
    calm.end().await;
}

#[tokio::test]
async fn an_id_that_is_none_is_refused_everywhere() {
    let calm = Calm::begin().await;
    let invalid = ("invalid-id", Code::InvalidArgument);
    let unknown = ("unknown-instance", Code::NotFound);
    // Of a partition that there is, and of one that there is not.
    let (here, nowhere) =
        ("01890a5d-ac96-774b-bcce-b302099a8000", "01890a5d-ac96-774b-bcce-b302099a83ff");
    let braced = format!("{{{}}}", calm.id);
    let simple = calm.id.replace('-', "");
    let ids = ["", "x", "💥", &braced, &simple, &"0".repeat(36), &"9".repeat(100_000)];
    let cases =
        ids.map(|id| (id, invalid)).into_iter().chain([(here, unknown), (nowhere, unknown)]);
    for (id, wanted) in cases {
        let mut api = calm.world.api.workflows.clone();
        let what = |method: &str| format!("{method} {}", &id[..id.len().min(40)]);
        let (id, reason, task) = (id.to_owned(), String::new(), "nothing".to_owned());
        let request = GetRequest { id: id.clone() };
        calm.refuses(&what("get"), wanted, api.get(request)).await;
        let request = HistoryRequest { id: id.clone(), ..HistoryRequest::default() };
        calm.refuses(&what("history"), wanted, api.history(request)).await;
        let request = WatchRequest { id: id.clone(), after: 0 };
        calm.refuses(&what("watch"), wanted, watch(&mut api, request)).await;
        let request = CancelRequest { id: id.clone(), reason: reason.clone() };
        calm.refuses(&what("cancel"), wanted, api.cancel(request)).await;
        let request = TerminateRequest { id: id.clone(), reason: reason.clone() };
        calm.refuses(&what("terminate"), wanted, api.terminate(request)).await;
        let request = SuspendRequest { id: id.clone(), reason };
        calm.refuses(&what("suspend"), wanted, api.suspend(request)).await;
        let request = ResumeRequest { id: id.clone() };
        calm.refuses(&what("resume"), wanted, api.resume(request)).await;
        calm.refuses(&what("rerun"), wanted, api.rerun(RerunRequest { id, task })).await;
    }
    let mut api = calm.world.api.workflows.clone();
    let request = CancelRequest { id: calm.id.clone(), reason: "r".repeat(1025) };
    let large = ("too-large", Code::InvalidArgument);
    calm.refuses("a long reason", large, api.cancel(request)).await;
    calm.end().await;
}

type Workflows =
    baton_proto::v1::workflow_service_client::WorkflowServiceClient<baton_tests::api::Connection>;

/// Nothing of a stream can be shown, and nothing of it should come.
async fn watch(api: &mut Workflows, request: WatchRequest) -> Result<Response<()>, Status> {
    api.watch(request).await.map(|answer| answer.map(|_| ()))
}

#[tokio::test]
async fn a_list_that_cannot_be_made_is_refused() {
    let calm = Calm::begin().await;
    let api = calm.world.api.workflows.clone();
    let list = |request: ListRequest| {
        let mut api = api.clone();
        async move { api.list(request).await }
    };
    let invalid = ("invalid-argument", Code::InvalidArgument);
    let page = ("invalid-page-token", Code::InvalidArgument);
    for token in ["x", "AAAA", "💥", &"A".repeat(64), &"/".repeat(1_000_000)] {
        let request = ListRequest { page_token: token.to_owned(), ..ListRequest::default() };
        calm.refuses(&token[..token.len().min(20)], page, list(request)).await;
    }
    for page_size in [1_001, u32::MAX] {
        let request = ListRequest { page_size, ..ListRequest::default() };
        calm.refuses("a huge page", invalid, list(request)).await;
    }
    for status in [-1, 8, i32::MAX, i32::MIN] {
        let request = ListRequest { status, ..ListRequest::default() };
        calm.refuses(&format!("status {status}"), invalid, list(request)).await;
    }
    for seconds in [i64::MIN, i64::MAX] {
        let at = Some(Timestamp { seconds, nanos: -1 });
        let request = ListRequest { started_after: at, ..ListRequest::default() };
        calm.refuses(&format!("{seconds} s"), invalid, list(request)).await;
    }
    let mut labelled = ListRequest::default();
    labelled.labels.insert("no blanks".to_owned(), String::new());
    calm.refuses("a label", invalid, list(labelled)).await;
    let mut api = api.clone();
    let request = HistoryRequest { id: calm.id.clone(), after: 0, limit: 10_001 };
    calm.refuses("a long history", invalid, api.history(request)).await;
    calm.end().await;
}

#[tokio::test]
async fn a_page_token_is_good_for_its_own_list_only() {
    let world = World::begin(Setup::default()).await.unwrap();
    world.deploy("plain", PLAIN).await.unwrap();
    for _ in 0..3 {
        world.run("plain", "{}").await.unwrap();
    }
    let mut api = world.api.workflows.clone();
    let first = ListRequest { page_size: 1, ..ListRequest::default() };
    let token = eventually(DEADLINE, "there is a second page", async || {
        let page = world.api.workflows.clone().list(first.clone()).await?.into_inner();
        Ok(Some(page.next_page_token).filter(|token| !token.is_empty()))
    });
    let token = token.await.unwrap();
    let other = ListRequest {
        name: "plain".to_owned(),
        page_token: token.clone(),
        ..ListRequest::default()
    };
    assert_eq!(code(&api.list(other).await.unwrap_err()), "invalid-page-token");
    let mut bent = token.clone();
    let last = if bent.pop() == Some('A') { 'B' } else { 'A' };
    bent.push(last);
    let bent = ListRequest { page_token: bent, ..ListRequest::default() };
    if let Err(refusal) = api.list(bent).await {
        assert_eq!(code(&refusal), "invalid-page-token");
    }
    let good = ListRequest { page_token: token, ..first };
    assert_eq!(api.list(good).await.unwrap().into_inner().instances.len(), 1);
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_document_that_is_none_is_refused() {
    let calm = Calm::begin().await;
    let api = calm.world.api.definitions.clone();
    let deploy = |source: &str| {
        let (mut api, source) = (api.clone(), source.to_owned());
        async move { api.deploy(DeployRequest { source }).await }
    };
    let invalid = ("invalid-workflow", Code::InvalidArgument);
    let bomb = format!("a: &a [{}]\nb: [*a, *a]", "1, ".repeat(1_000));
    for source in ["", ":", "{", "- a\nb", "💥", "document: 1", "\u{0}", &bomb, &"[".repeat(50_000)]
    {
        calm.refuses(&source[..source.len().min(20)], invalid, deploy(source)).await;
    }
    let large = ("too-large", Code::InvalidArgument);
    calm.refuses("a megabyte", large, deploy(&"#".repeat(1024 * 1024 + 1))).await;
    let other = workflow::lab("plain", "- other:\n    set: { done: false }");
    let conflict = ("version-conflict", Code::AlreadyExists);
    calm.refuses("another text", conflict, deploy(&other)).await;
    let mut api = api.clone();
    let request = GetDefinitionRequest { name: "nothing".to_owned(), ..Default::default() };
    let unknown = ("unknown-workflow", Code::NotFound);
    calm.refuses("an unknown name", unknown, api.get_definition(request)).await;
    calm.end().await;
}

#[tokio::test]
async fn what_is_no_message_at_all_is_refused_with_a_code_too() {
    let calm = Calm::begin().await;
    let url = calm.world.cluster.batond.url();
    let channel = Endpoint::from_shared(url).unwrap().connect().await.unwrap();
    let malformed = ("malformed-request", Code::Internal);
    // A number where a text should be, and a text that is not UTF-8.
    let number = Timestamp { seconds: 7, nanos: 7 };
    let sent = send::<_, Instance>(&channel, "WorkflowService/Get", number);
    calm.refuses("a number as id", malformed, sent).await;
    let bytes = AttemptQuery { instance: vec![0xff, 0xfe], ..AttemptQuery::default() };
    let sent = send::<_, Instance>(&channel, "WorkflowService/Get", bytes.clone());
    calm.refuses("bytes as id", malformed, sent).await;
    let sent = send::<_, StartResponse>(&channel, "WorkflowService/Start", bytes);
    calm.refuses("bytes as namespace", malformed, sent).await;

    let huge = start_request("plain", &format!("\"{}\"", "x".repeat(10_000_000)));
    let sent = send::<_, StartResponse>(&channel, "WorkflowService/Start", huge);
    calm.refuses("10 MB", ("too-large", Code::OutOfRange), sent).await;
    let sent = send::<_, Instance>(&channel, "WorkflowService/Explode", GetRequest::default());
    calm.refuses("no such method", ("unknown-method", Code::Unimplemented), sent).await;
    calm.end().await;
}

/// Sends a message to a method that wants another.
async fn send<I, O>(channel: &Channel, method: &str, message: I) -> Result<Response<O>, Status>
where
    I: prost::Message + Send + Sync + 'static,
    O: prost::Message + Default + Send + Sync + 'static,
{
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path = format!("/baton.v1.{method}").parse().unwrap();
    let codec = tonic_prost::ProstCodec::<I, O>::default();
    client.unary(tonic::Request::new(message), path, codec).await
}
