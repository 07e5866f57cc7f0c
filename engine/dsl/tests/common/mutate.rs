//! Documents that are nearly right: each has one change, chosen by a seed.

use serde_json::{Value, json};

/// `SplitMix64`: the same seed gives the same numbers on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }

    fn one_of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// Words with a meaning somewhere.
const WORDS: [&str; 40] = [
    "continue",
    "exit",
    "end",
    "data",
    "envelope",
    "raw",
    "content",
    "response",
    "stdout",
    "stderr",
    "code",
    "all",
    "none",
    "always",
    "never",
    "eventually",
    "ifNotPresent",
    "strict",
    "loose",
    "jq",
    "json",
    "composite",
    "call",
    "set",
    "http",
    "grpc",
    "asyncapi",
    "mcp",
    "client_credentials",
    "PT1S",
    "P1Y",
    "P",
    "${ . }",
    "${ .a\n | .b }",
    "^a",
    "1.0.3",
    "nowhere",
    "",
    " ",
    "https://h/{a b}",
];

/// With one change, and what it is.
pub(crate) fn mutant(seed: &Value, corpus: &[&Value], random: &mut Random) -> (Value, String) {
    let mut mutant = seed.clone();
    let paths = pointers(&mutant);
    let at = random.one_of(&paths).clone();
    let other = graft(corpus, random);
    let place = mutant.pointer_mut(&at).unwrap();
    let change = change(place, other, random);
    (mutant, format!("{at}: {change}"))
}

/// As JSON text, and the key.
pub(crate) fn with_a_key_twice(seed: &Value, random: &mut Random) -> (String, String) {
    const AGAIN: &str = "again-0123456789";
    let mut document = seed.clone();
    let mut paths = pointers(&document);
    paths.retain(|path| {
        document
            .pointer(path)
            .is_some_and(|value| value.as_object().is_some_and(|members| !members.is_empty()))
    });
    let path = random.one_of(&paths).clone();
    let members = document.pointer_mut(&path).and_then(Value::as_object_mut).unwrap();
    let keys: Vec<_> = members.keys().cloned().collect();
    let key = random.one_of(&keys).clone();
    members.insert(AGAIN.into(), members[&key].clone());
    (document.to_string().replace(&json!(AGAIN).to_string(), &json!(key).to_string()), key)
}

fn change(place: &mut Value, (key, other): (String, Value), random: &mut Random) -> String {
    match (random.below(10), &mut *place) {
        (0 | 1, Value::Object(members)) if !members.is_empty() => {
            let keys: Vec<_> = members.keys().cloned().collect();
            let key = random.one_of(&keys);
            members.remove(key);
            format!("without {key}")
        }
        (0, Value::Array(items)) if !items.is_empty() => {
            let at = random.below(items.len());
            items.remove(at);
            "without an item".into()
        }
        (2, Value::Object(members)) if !members.is_empty() => {
            let keys: Vec<_> = members.keys().cloned().collect();
            let old = random.one_of(&keys);
            let value = members.remove(old).unwrap();
            let new = if random.below(2) == 0 { format!("{old}s") } else { key };
            let told = format!("{old} is called {new}");
            members.insert(new, value);
            told
        }
        (3 | 4, Value::Object(members)) => {
            let told = format!("with {key} {other}");
            members.insert(key, other);
            told
        }
        (3, Value::Array(items)) if !items.is_empty() => {
            let item = random.one_of(items).clone();
            items.push(item);
            "an item twice".into()
        }
        (4, Value::Array(items)) => {
            let told = format!("with item {other}");
            items.push(other);
            told
        }
        (5, _) => {
            *place = if random.below(2) == 0 { json!([place]) } else { json!({ "a": place }) };
            format!("nested {place}")
        }
        (6, Value::Number(_)) => {
            let numbers =
                [json!(-1), json!(0), json!(65_536), json!(1.5), json!(99_999_999_999_u64)];
            *place = random.one_of(&numbers).clone();
            format!("now {place}")
        }
        (6 | 7, Value::String(_)) => {
            *place = json!(random.one_of(&WORDS));
            format!("now {place}")
        }
        (8, _) => {
            let told = format!("was {place}, now {other}");
            *place = other;
            told
        }
        _ => {
            let plain = [
                json!(null),
                json!(true),
                json!(7),
                json!("text"),
                json!([]),
                json!({}),
                json!(["a"]),
                json!({"a": 1}),
            ];
            *place = random.one_of(&plain).clone();
            format!("now {place}")
        }
    }
}

/// A key and its value from anywhere.
fn graft(corpus: &[&Value], random: &mut Random) -> (String, Value) {
    let from = random.one_of(corpus);
    let paths = pointers(from);
    let path = random.one_of(&paths);
    let key = path.rsplit('/').next().unwrap_or_default();
    let key = if key.is_empty() || key.parse::<u8>().is_ok() { "then" } else { key };
    (key.to_owned(), from.pointer(path).unwrap().clone())
}

/// The places of all values below the root.
fn pointers(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(value, "", &mut found);
    found
}

fn walk(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let at = format!("{at}/{index}");
                walk(item, &at, found);
                found.push(at);
            }
        }
        Value::Object(members) => {
            for (key, item) in members {
                let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                walk(item, &at, found);
                found.push(at);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
