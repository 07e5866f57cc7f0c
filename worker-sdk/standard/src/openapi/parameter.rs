//! A declared parameter, and how its value is written.

use baton_worker::Outcome;
use serde_json::Value;

use crate::{fault::Fault, input::scalar};

pub(super) struct Parameter<'a> {
    pub(super) name: &'a str,
    pub(super) place: Place,
    pub(super) required: bool,
    style: Style,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
    Header,
    Cookie,
    /// Swagger 2.0: a field of a form.
    Form,
    /// Swagger 2.0: the body is a parameter with a name.
    Body,
}

#[derive(Clone, Copy)]
enum Style {
    /// As JSON text.
    Json,
    Parts {
        lists: Lists,
        objects: Objects,
    },
}

#[derive(Clone, Copy)]
enum Lists {
    Repeated,
    Joined(char),
}

#[derive(Clone, Copy)]
enum Objects {
    /// `k,v,k,v`
    Joined(char),
    /// `k=v,k=v`
    Equals,
    /// Each member as a parameter of its own.
    Spread,
    /// `name[k]=v`
    Deep,
}

impl<'a> Parameter<'a> {
    /// As OpenAPI 3 declares it.
    pub(super) fn v3(declared: &'a Value) -> Outcome<Self> {
        let (name, place) = (text(declared, "name")?, text(declared, "in")?);
        let place = match place {
            "path" => Place::Path,
            "query" => Place::Query,
            "header" => Place::Header,
            "cookie" => Place::Cookie,
            other => return Err(unknown("place of a parameter", other)),
        };
        let usual = match place {
            Place::Path | Place::Header => "simple",
            Place::Query | Place::Cookie | Place::Form | Place::Body => "form",
        };
        let style = declared.get("style").and_then(Value::as_str).unwrap_or(usual);
        let explode = declared.get("explode").and_then(Value::as_bool).unwrap_or(style == "form");
        let style = match (style, explode) {
            _ if declared.get("content").is_some() => Style::Json,
            ("simple", true) => parts(Lists::Joined(','), Objects::Equals),
            ("simple" | "form", false) => joined(','),
            // A cookie that comes twice counts once.
            ("form", true) if place == Place::Cookie => parts(Lists::Joined(','), Objects::Spread),
            ("form" | "spaceDelimited" | "pipeDelimited", true) => {
                parts(Lists::Repeated, Objects::Spread)
            }
            ("spaceDelimited", false) => joined(' '),
            ("pipeDelimited", false) => joined('|'),
            ("deepObject", _) => parts(Lists::Repeated, Objects::Deep),
            (other, _) => return Err(unknown("style of a parameter", other)),
        };
        Ok(Self { name, place, required: required(declared), style })
    }

    /// As Swagger 2.0 declares it.
    pub(super) fn v2(declared: &'a Value) -> Outcome<Self> {
        let (name, place) = (text(declared, "name")?, text(declared, "in")?);
        let place = match place {
            "path" => Place::Path,
            "query" => Place::Query,
            "header" => Place::Header,
            "formData" => Place::Form,
            "body" => Place::Body,
            other => return Err(unknown("place of a parameter", other)),
        };
        if declared.get("type").and_then(Value::as_str) == Some("file") {
            return Err(unknown("type of a parameter", "file"));
        }
        let format = declared.get("collectionFormat").and_then(Value::as_str).unwrap_or("csv");
        let style = match format {
            "csv" => joined(','),
            "ssv" => joined(' '),
            "tsv" => joined('\t'),
            "pipes" => joined('|'),
            "multi" => parts(Lists::Repeated, Objects::Joined(',')),
            other => return Err(unknown("format of a list", other)),
        };
        Ok(Self { name, place, required: required(declared), style })
    }

    /// A field of a form, as OpenAPI 3 writes it unless said otherwise.
    pub(super) fn form(name: &'a str) -> Self {
        let style = parts(Lists::Repeated, Objects::Spread);
        Self { name, place: Place::Form, required: false, style }
    }

    /// Names and values, of which a query or a form may have several.
    pub(super) fn pairs(&self, value: &Value) -> Outcome<Vec<(String, String)>> {
        self.encoded(value, &str::to_owned)
    }

    /// The same, with each part encoded but not what stands between them.
    pub(super) fn encoded(
        &self,
        value: &Value,
        encode: &dyn Fn(&str) -> String,
    ) -> Outcome<Vec<(String, String)>> {
        let (lists, objects) = match self.style {
            Style::Json => return Ok(vec![(self.name.to_owned(), encode(&value.to_string()))]),
            Style::Parts { lists, objects } => (lists, objects),
        };
        let part = |value: &Value| {
            let text = scalar(value).ok_or_else(|| {
                Fault::Input.because(format_args!("parameter {:?} is nested too deeply", self.name))
            })?;
            Ok(encode(&text))
        };
        let alone = |text| vec![(self.name.to_owned(), text)];
        match value {
            Value::Array(items) => {
                let items = items.iter().map(part).collect::<Outcome<Vec<_>>>()?;
                Ok(match lists {
                    Lists::Repeated => items.into_iter().flat_map(alone).collect(),
                    Lists::Joined(between) => alone(items.join(between.encode_utf8(&mut [0; 4]))),
                })
            }
            Value::Object(members) => {
                let members = members.iter().map(|(key, value)| Ok((encode(key), part(value)?)));
                let members = members.collect::<Outcome<Vec<_>>>()?.into_iter();
                Ok(match objects {
                    Objects::Spread => members.collect(),
                    Objects::Deep => members
                        .map(|(key, value)| (format!("{}[{key}]", self.name), value))
                        .collect(),
                    Objects::Equals => {
                        let members = members.map(|(key, value)| format!("{key}={value}"));
                        alone(members.collect::<Vec<_>>().join(","))
                    }
                    Objects::Joined(between) => {
                        let members = members.flat_map(|(key, value)| [key, value]);
                        let between = between.encode_utf8(&mut [0; 4]).to_owned();
                        alone(members.collect::<Vec<_>>().join(&between))
                    }
                })
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                Ok(alone(part(value)?))
            }
        }
    }
}

fn parts(lists: Lists, objects: Objects) -> Style {
    Style::Parts { lists, objects }
}

fn joined(between: char) -> Style {
    parts(Lists::Joined(between), Objects::Joined(between))
}

fn required(declared: &Value) -> bool {
    declared.get("required").and_then(Value::as_bool).unwrap_or(false)
}

fn text<'a>(declared: &'a Value, member: &str) -> Outcome<&'a str> {
    let text = declared.get(member).and_then(Value::as_str);
    text.ok_or_else(|| Fault::Document.because(format_args!("a parameter has no {member:?}")))
}

fn unknown(what: &str, found: &str) -> baton_worker::Failure {
    Fault::Unsupported.because(format_args!("{what} {found:?} is not supported here"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(declared: &Value, value: &Value, v2: bool) -> String {
        let parameter = if v2 { Parameter::v2(declared) } else { Parameter::v3(declared) }.unwrap();
        let pairs = parameter.pairs(value).unwrap().into_iter();
        pairs.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    }

    #[test]
    fn values_are_written_as_openapi_3_says() {
        let (list, object) = (json!(["a", 2, true]), json!({"k": "v", "n": 1}));
        for (place, style, explode, wanted_list, wanted_object) in [
            ("query", None, None, "p=a&p=2&p=true", "k=v&n=1"),
            ("query", Some("form"), Some(false), "p=a,2,true", "p=k,v,n,1"),
            ("query", Some("spaceDelimited"), None, "p=a 2 true", "p=k v n 1"),
            ("query", Some("pipeDelimited"), None, "p=a|2|true", "p=k|v|n|1"),
            ("query", Some("deepObject"), Some(true), "p=a&p=2&p=true", "p[k]=v&p[n]=1"),
            ("path", None, None, "p=a,2,true", "p=k,v,n,1"),
            ("path", None, Some(true), "p=a,2,true", "p=k=v,n=1"),
            ("header", None, None, "p=a,2,true", "p=k,v,n,1"),
            ("cookie", None, Some(false), "p=a,2,true", "p=k,v,n,1"),
        ] {
            let mut declared = json!({"name": "p", "in": place});
            if let Some(style) = style {
                declared["style"] = style.into();
            }
            if let Some(explode) = explode {
                declared["explode"] = explode.into();
            }
            assert_eq!(written(&declared, &list, false), wanted_list, "{declared}");
            assert_eq!(written(&declared, &object, false), wanted_object, "{declared}");
        }
        let json = json!({"name": "p", "in": "query", "content": {"application/json": {}}});
        assert_eq!(written(&json, &json!({"k": [1]}), false), r#"p={"k":[1]}"#);
    }

    #[test]
    fn lists_are_written_as_swagger_2_says() {
        for (format, wanted) in [
            ("csv", "p=a,b"),
            ("ssv", "p=a b"),
            ("tsv", "p=a\tb"),
            ("pipes", "p=a|b"),
            ("multi", "p=a&p=b"),
        ] {
            let declared = json!({"name": "p", "in": "query", "collectionFormat": format});
            assert_eq!(written(&declared, &json!(["a", "b"]), true), wanted);
        }
        assert_eq!(
            written(&json!({"name": "p", "in": "query"}), &json!(["a", "b"]), true),
            "p=a,b"
        );
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let declared = json!({"name": "p", "in": "query"});
        let nested = Parameter::v3(&declared).unwrap().pairs(&json!([[1]]));
        assert_eq!(nested.unwrap_err().title, "invalid-input");
        let matrix =
            Parameter::v3(&json!({"name": "p", "in": "path", "style": "matrix"})).err().unwrap();
        assert_eq!(matrix.title, "unsupported-here");
    }
}
