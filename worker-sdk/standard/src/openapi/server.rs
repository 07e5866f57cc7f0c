//! Where an OpenAPI document says that its service is.

use baton_worker::Outcome;
use reqwest::Url;
use serde_json::Value;

use super::operation::Version;
use crate::{fault::Fault, input::scalar};

/// The beginning of the operation's URL, up to its path.
pub(super) fn of(
    document: &Value,
    version: Version,
    home: &Url,
    item: &Value,
    operation: &Value,
) -> Outcome<String> {
    let url = match version {
        Version::Two => v2(document, home),
        Version::Three => {
            let levels = [operation, item, document];
            let mut servers = levels.iter().filter_map(|level| level.get("servers")?.as_array());
            // The narrowest level that has any, and of several its first.
            v3(servers.find_map(|servers| servers.first()), home)?
        }
    };
    let mut url = url.map_err(|error| {
        Fault::Document.because(format_args!("the document's server cannot be used: {error}"))
    })?;
    url.set_query(None);
    url.set_fragment(None);
    Ok(url.to_string())
}

fn v2(document: &Value, home: &Url) -> Result<Url, url::ParseError> {
    let text = |member| document.get(member).and_then(Value::as_str);
    let schemes = document.get("schemes").and_then(Value::as_array).into_iter().flatten();
    let schemes = schemes.filter_map(Value::as_str).collect::<Vec<_>>();
    let scheme = match schemes.first() {
        None => home.scheme(),
        Some(_) if schemes.contains(&"https") => "https",
        Some(first) => first,
    };
    let own_host = match (home.host_str(), home.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => String::new(),
    };
    let host = text("host").map_or(own_host, str::to_owned);
    let base = text("basePath").unwrap_or("/");
    Url::parse(&format!("{scheme}://{host}/{}", base.trim_start_matches('/')))
}

fn v3(server: Option<&Value>, home: &Url) -> Outcome<Result<Url, url::ParseError>> {
    let mut url = server.and_then(|server| server.get("url")?.as_str()).unwrap_or("/").to_owned();
    let variables = server.and_then(|server| server.get("variables")?.as_object());
    for (name, variable) in variables.into_iter().flatten() {
        let usual = variable.get("default").and_then(scalar).ok_or_else(|| {
            Fault::Document.because(format_args!("the server's variable {name:?} has no default"))
        })?;
        url = url.replace(&format!("{{{name}}}"), &usual);
    }
    Ok(home.join(&url))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of_document(document: &Value, version: Version) -> String {
        let home = Url::parse("https://docs.test:8443/specs/pets.json?x=1").unwrap();
        of(document, version, &home, &Value::Null, &Value::Null).unwrap()
    }

    #[test]
    fn a_server_of_swagger_2_is_scheme_host_and_base_path() {
        for (document, wanted) in [
            (json!({}), "https://docs.test:8443/"),
            (json!({"basePath": "/v2"}), "https://docs.test:8443/v2"),
            (json!({"host": "pets.test", "schemes": ["http", "https"]}), "https://pets.test/"),
            (
                json!({"host": "pets.test:81", "schemes": ["http"], "basePath": "v2"}),
                "http://pets.test:81/v2",
            ),
        ] {
            assert_eq!(of_document(&document, Version::Two), wanted);
        }
    }

    #[test]
    fn a_server_of_openapi_3_may_be_relative_and_have_variables() {
        for (servers, wanted) in [
            (json!([]), "https://docs.test:8443/"),
            (json!([{"url": "../v3"}]), "https://docs.test:8443/v3"),
            (json!([{"url": "/api"}, {"url": "https://other.test"}]), "https://docs.test:8443/api"),
            (
                json!([{"url": "https://{region}.pets.test/v1", "variables": {"region": {"default": "eu"}}}]),
                "https://eu.pets.test/v1",
            ),
        ] {
            assert_eq!(of_document(&json!({ "servers": servers }), Version::Three), wanted);
        }
    }
}
