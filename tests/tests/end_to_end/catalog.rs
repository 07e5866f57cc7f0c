//! Functions of the engine's catalog: deployed once, called by workflows, kept with them.

use baton_proto::v1::{
    DeployFunctionRequest, DeployFunctionResponse, DeployRequest, GetFunctionRequest,
    ListFunctionsRequest, Status, ValidateRequest,
};
use baton_tests::world::code;
use baton_tests::{DEADLINE, Setup, World, workflow};

async fn deploy(
    world: &World,
    name: &str,
    version: &str,
    source: &str,
) -> Result<DeployFunctionResponse, tonic::Status> {
    let request =
        DeployFunctionRequest { name: name.into(), version: version.into(), source: source.into() };
    let answer = world.api.definitions.clone().deploy_function(request).await?;
    Ok(answer.into_inner())
}

const DOUBLE: &str = "set: { n: '${ .n * 2 }' }";
const CALL: &str = "- double:\n    call: double:1.0.0@default\n    with: { n: '${ .n }' }";

#[tokio::test]
async fn a_function_never_changes_and_is_checked_when_it_is_deployed() {
    let world = World::begin(Setup::default()).await.unwrap();
    let mut definitions = world.api.definitions.clone();
    let first = deploy(&world, "double", "1.0.0", DOUBLE).await.unwrap();
    let again = deploy(&world, "double", "1.0.0", DOUBLE).await.unwrap();
    assert_eq!((first.created, again.created), (true, false));
    assert_eq!(first.function, again.function);
    let refused = async |name: &str, version: &str, source: &str| {
        code(&deploy(&world, name, version, source).await.unwrap_err()).to_owned()
    };
    assert_eq!(refused("double", "1.0.0", "set: { n: 1 }").await, "version-conflict");
    assert_eq!(refused("double", "one", DOUBLE).await, "invalid-argument");
    assert_eq!(refused("a.b", "1.0.0", DOUBLE).await, "invalid-argument");
    assert_eq!(refused("wrong", "1.0.0", "sett: { n: 1 }").await, "invalid-function");
    assert_eq!(refused("wrong", "1.0.0", "call: none:1.0.0@default").await, "invalid-function");
    let large = format!("{DOUBLE}\n# {}", "x".repeat(256 * 1024));
    assert_eq!(refused("large", "1.0.0", &large).await, "too-large");
    deploy(&world, "double", "1.10.0+b", DOUBLE).await.unwrap();
    deploy(&world, "double", "1.9.0", DOUBLE).await.unwrap();

    let listed = definitions.list_functions(ListFunctionsRequest {}).await.unwrap().into_inner();
    let versions: Vec<_> = listed.functions.iter().map(|f| f.version.as_str()).collect();
    assert_eq!(versions, ["1.10.0+b", "1.9.0", "1.0.0"]);
    assert!(listed.functions.iter().all(|f| f.source.is_empty() && f.hash.len() == 64));
    let wanted =
        |version: &str| GetFunctionRequest { name: "double".into(), version: version.into() };
    let found = definitions.get_function(wanted("1.10.0+b")).await.unwrap().into_inner();
    assert_eq!(found.source, DOUBLE);
    let none = definitions.get_function(wanted("2.0.0")).await.unwrap_err();
    assert_eq!(code(&none), "unknown-catalog-function");

    let source = workflow::lab("lost", "- a: { call: 'none:1.0.0@default' }");
    let request = DeployRequest { source: source.clone() };
    assert_eq!(code(&definitions.deploy(request).await.unwrap_err()), "invalid-workflow");
    let found = definitions.validate(ValidateRequest { source }).await.unwrap().into_inner();
    assert_eq!(found.diagnostics[0].code, "unresolved-function");
    assert_eq!(found.diagnostics[0].pointer, "/do/0/a/call");
    world.end().await.unwrap();
}

#[tokio::test]
async fn an_instance_goes_on_with_the_functions_that_its_workflow_was_deployed_with() {
    let mut world = World::begin(Setup::default()).await.unwrap();
    deploy(&world, "double", "1.0.0", DOUBLE).await.unwrap();
    let outer = "do:\n- hold: { call: lab.hold, with: { name: held, n: '${ .n }' } }\n\
        - double: { call: 'double:1.0.0@default', with: { n: '${ $workflow.input.n }' } }\n";
    deploy(&world, "outer", "1.0.0", outer).await.unwrap();
    world.deploy("plain", CALL).await.unwrap();
    world.deploy("held", "- outer: { call: 'outer:1.0.0@default', with: { n: 1 } }").await.unwrap();
    assert_eq!(world.run("plain", r#"{"n":21}"#).await.unwrap().output, r#"{"n":42}"#);
    let held = world.start("held", r#"{"n":4}"#).await.unwrap();
    world.lab.begun("held", 1, DEADLINE).await.unwrap();

    world.cluster.batond.kill().unwrap();
    let jetstream = async_nats::jetstream::new(world.cluster.nats.connect().await.unwrap());
    let bucket = jetstream.get_key_value("BATON_FUNCTIONS").await.unwrap();
    let other =
        r#"{"name":"double","version":"1.0.0","source":"set: { n: 0 }","deployed_at_ms":1}"#;
    bucket.put("double.1.0.0", other.into()).await.unwrap();
    bucket.purge("outer.1.0.0").await.unwrap();
    world.cluster.batond.restart().await.unwrap();

    world.lab.release("held");
    let ended = world.api.ended(&held, DEADLINE).await.unwrap();
    assert_eq!((ended.status(), ended.output.as_str()), (Status::Completed, r#"{"n":8}"#));
    assert_eq!(world.run("plain", r#"{"n":21}"#).await.unwrap().output, r#"{"n":42}"#);
    // The same text would now mean something else, so it is not the same version.
    let request = DeployRequest { source: workflow::lab("plain", CALL) };
    let refused = world.api.definitions.clone().deploy(request).await.unwrap_err();
    assert_eq!(code(&refused), "version-conflict");
    world.end().await.unwrap();
}
