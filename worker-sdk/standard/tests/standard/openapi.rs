//! Calls by OpenAPI documents of both versions.

use axum::{Router, routing::get};
use serde_json::{Value, json};

use super::{
    call, failure,
    service::{Service, echoing},
    told, worker,
};

const SWAGGER: &str = r##"{
  "swagger": "2.0", "basePath": "/echo/v2",
  "parameters": {"trace": {"name": "X-Trace", "in": "header", "type": "string"}},
  "paths": {
    "/pet/findByStatus": {"get": {"operationId": "findPetsByStatus", "parameters": [
      {"name": "status", "in": "query", "required": true, "type": "array", "collectionFormat": "multi"}]}},
    "/pet/{petId}": {
      "parameters": [{"name": "petId", "in": "path", "required": true, "type": "integer"}, {"$ref": "#/parameters/trace"}],
      "get": {"operationId": "getPetById"},
      "post": {"operationId": "updatePetWithForm", "consumes": ["application/x-www-form-urlencoded"],
               "parameters": [{"name": "name", "in": "formData", "type": "string"}]}},
    "/pet": {"post": {"operationId": "addPet", "parameters": [{"name": "pet", "in": "body", "required": true}]}}
  }
}"##;

const OPENAPI: &str = r"
openapi: 3.1.0
servers: [{ url: '../echo/{version}', variables: { version: { default: v3 } } }]
paths:
  /pets/{ids}:
    get:
      operationId: find
      parameters:
        - { name: ids, in: path, required: true }
        - { name: filter, in: query, style: deepObject }
        - { name: X-Tags, in: header }
        - { name: session, in: cookie }
    put:
      operationId: change
      parameters: [{ $ref: '#/components/parameters/ids' }]
      requestBody:
        required: true
        content:
          application/xml: {}
          application/json: {}
  /text:
    post:
      operationId: write
      requestBody: { content: { text/plain: {} } }
  /upload:
    post:
      operationId: upload
      requestBody: { content: { multipart/form-data: {} } }
components:
  parameters:
    ids: { name: ids, in: path, required: true }
";

async fn described() -> Service {
    let router = echoing()
        .route("/docs/swagger.json", get(|| async { SWAGGER }))
        .route("/docs/openapi.yaml", get(|| async { OPENAPI }))
        .route("/docs/none", get(|| async { "a: [" }))
        .route("/docs/other", get(|| async { "{}" }));
    Service::start(Router::new().merge(router)).await
}

fn input(service: &Service, document: &str, operation: &str, parameters: &Value) -> Value {
    json!({"document": {"endpoint": {"uri": service.url(document)}}, "operationId": operation, "parameters": parameters})
}

#[tokio::test]
async fn an_operation_of_swagger_2_is_called_as_it_is_declared() {
    let service = described().await;
    let worker = worker(&[&service.host()]);
    for (operation, parameters, method, uri, body) in [
        (
            "findPetsByStatus",
            json!({"status": ["available", "sold"]}),
            "GET",
            "/echo/v2/pet/findByStatus?status=available&status=sold",
            "",
        ),
        (
            "findPetsByStatus",
            json!({"status": "available"}),
            "GET",
            "/echo/v2/pet/findByStatus?status=available",
            "",
        ),
        ("getPetById", json!({"petId": 1}), "GET", "/echo/v2/pet/1", ""),
        (
            "updatePetWithForm",
            json!({"petId": 1, "name": "a b"}),
            "POST",
            "/echo/v2/pet/1",
            "name=a+b",
        ),
        ("addPet", json!({"pet": {"id": 5}}), "POST", "/echo/v2/pet", r#"{"id":5}"#),
    ] {
        let came =
            call(&worker, "openapi", input(&service, "/docs/swagger.json", operation, &parameters))
                .await;
        assert_eq!(
            (&came["method"], &came["uri"], &came["body"]),
            (&json!(method), &json!(uri), &json!(body))
        );
    }
    let parameters = json!({"petId": 1, "X-Trace": "t"});
    let came =
        call(&worker, "openapi", input(&service, "/docs/swagger.json", "getPetById", &parameters))
            .await;
    assert_eq!(came["headers"]["x-trace"], "t");
    let fetched = service.paths().iter().filter(|path| path.starts_with("/docs")).count();
    assert_eq!(fetched, 1, "the document is kept");
}

#[tokio::test]
async fn an_operation_of_openapi_3_is_called_as_it_is_declared() {
    let service = described().await;
    let worker = worker(&[&service.host()]);
    let document = "/docs/openapi.yaml";
    let parameters = json!({"ids": ["a/b", 2], "filter": {"kind": "dog"}, "X-Tags": ["x", "y"], "session": "s;1"});
    let came = call(&worker, "openapi", input(&service, document, "find", &parameters)).await;
    assert_eq!(came["uri"], "/echo/v3/pets/a%2Fb,2?filter%5Bkind%5D=dog");
    assert_eq!(
        (&came["headers"]["x-tags"], &came["headers"]["cookie"]),
        (&json!("x,y"), &json!("session=s%3B1"))
    );
    for parameters in [json!({"ids": 1, "body": {"name": "n"}}), json!({"ids": 1, "name": "n"})] {
        let came = call(&worker, "openapi", input(&service, document, "change", &parameters)).await;
        assert_eq!((&came["method"], &came["body"]), (&json!("PUT"), &json!(r#"{"name":"n"}"#)));
        assert_eq!(came["headers"]["content-type"], "application/json");
        assert!(came["headers"]["idempotency-key"].is_string());
    }
    let came =
        call(&worker, "openapi", input(&service, document, "write", &json!({"body": "text"})))
            .await;
    assert_eq!(
        (&came["body"], &came["headers"]["content-type"]),
        (&json!("text"), &json!("text/plain"))
    );
    let mut response = input(&service, document, "find", &json!({"ids": 1}));
    response["output"] = "response".into();
    response["authentication"] = json!({"bearer": {"token": "t0ken"}});
    let response = call(&worker, "openapi", response).await;
    assert_eq!(response["request"]["uri"], service.url("/echo/v3/pets/1"));
    assert_eq!(response["content"]["headers"]["authorization"], "Bearer t0ken");
}

#[tokio::test]
async fn what_the_document_does_not_declare_is_refused() {
    let service = described().await;
    let worker = worker(&[&service.host()]);
    let (swagger, openapi) = ("/docs/swagger.json", "/docs/openapi.yaml");
    for (document, operation, parameters, wanted) in [
        (swagger, "findPetsByStatus", json!({}), ("validation", "invalid-input", 400, false)),
        (
            swagger,
            "findPetsByStatus",
            json!({"status": null}),
            ("validation", "invalid-input", 400, false),
        ),
        (
            swagger,
            "getPetById",
            json!({"petId": 1, "other": 2}),
            ("validation", "invalid-input", 400, false),
        ),
        (
            swagger,
            "getPetById",
            json!({"petId": ".."}),
            ("validation", "invalid-input", 400, false),
        ),
        (swagger, "addPet", json!({}), ("validation", "invalid-input", 400, false)),
        (openapi, "change", json!({"ids": 1}), ("validation", "invalid-input", 400, false)),
        (
            openapi,
            "change",
            json!({"ids": 1, "body": {}, "other": 2}),
            ("validation", "invalid-input", 400, false),
        ),
        (openapi, "upload", json!({"body": {}}), ("configuration", "unsupported-here", 400, false)),
        (openapi, "none", json!({}), ("configuration", "unknown-operation", 400, false)),
        ("/docs/none", "x", json!({}), ("configuration", "invalid-document", 400, false)),
        ("/docs/other", "x", json!({}), ("configuration", "invalid-document", 400, false)),
        ("/nowhere", "x", json!({}), ("communication", "http-status", 404, false)),
    ] {
        let failure =
            failure(&worker, "openapi", input(&service, document, operation, &parameters)).await;
        assert_eq!(told(&failure), wanted, "{operation} {parameters}: {}", failure.detail);
    }
    assert!(service.paths().iter().all(|path| !path.starts_with("/echo")), "nothing was called");
}
